"""How points of the latent space are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentool.errors import UserError
from gentool.latent.points import Example, Latents, Picture, Seed, parse


def test_points_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("face.png", "z.npz", "odd:name.jpg", "7"):
        Path(name).touch()
    Path("folder").mkdir()
    for name in ("b.png", "a.jpg", "notes.txt"):
        (Path("folder") / name).touch()
    cases = {
        "seed:7": [Seed(7)],
        "seed:3-5": [Seed(3), Seed(4), Seed(5)],
        "class:3": [Seed(0, "3")],
        "class:cat:7": [Seed(7, "cat")],
        "class:a:b": [Seed(0, "a:b")],
        "test:12": [Example(None, "test", 12)],
        "mnist:test:12": [Example("mnist", "test", 12)],
        "faces:500:train:0-1": [Example("faces:500", "train", i) for i in (0, 1)],
        "my data/x.npz:test:1": [Example("my data/x.npz", "test", 1)],
        "face.png": [Picture(Path("face.png"))],
        "odd:name.jpg": [Picture(Path("odd:name.jpg"))],
        "7": [Picture(Path("7"))],
        "z.npz": [Latents(Path("z.npz"))],
        "z.npz:0-2": [Latents(Path("z.npz"), (0, 1, 2))],
        "folder": [Picture(Path("folder/a.jpg")), Picture(Path("folder/b.png"))],
    }
    for text, points in cases.items():
        assert parse(text) == points, text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "seed:",
            "seed:x",
            "seed:-1",
            "seed:5-3",
            "seed:0-99999999",
            "nothing.png",
            "z.npz:1",
        ),
        *("mnist:test:", "mnist:valid:3", "test:1-", "\x1b[31m", "a" * 5000, "x\0y", "folder:3"),
    ],
)
def test_what_is_no_point_is_refused_in_a_sentence(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        parse(text)
    assert "\x1b" not in str(refused.value) and len(str(refused.value)) < 600


def test_an_empty_folder_is_no_point(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image in the folder"):
        parse(str(tmp_path))
