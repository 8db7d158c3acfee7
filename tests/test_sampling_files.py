"""What `gentool sample` writes: exactly n, with their classes, whole files, bounded memory."""

from __future__ import annotations

import csv
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from PIL import Image

import gentool
from gentool.errors import UserError
from gentool.render import samples
from gentool.render.grid import grid_image

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "3", "--epochs", "1")


@pytest.fixture
def run(cli: Cli) -> str:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    return "run"


@pytest.fixture
def conditional(cli: Cli) -> str:
    assert cli("train", "vae", *SMALL, "--conditional", "--out", "c").code == 0
    return "c"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("n", [1, 15, 23])
def test_exactly_n_of_a_conditional_model(cli: Cli, conditional: str, n: int) -> None:
    assert cli("sample", conditional, "--n", n, "--out", "x.npz").code == 0
    stored = np.load("x.npz", allow_pickle=False)
    assert len(stored["x"]) == len(stored["labels"]) == n
    counts = np.bincount(stored["labels"], minlength=10)
    assert counts.max() - counts.min() <= 1 and sorted(stored["labels"]) == list(stored["labels"])


def test_a_grid_has_a_row_a_class_whatever_n(cli: Cli, conditional: str) -> None:
    for out in ("x.npz", "x.png"):
        assert cli("sample", conditional, "--n", 13, "--out", out).code == 0
    stored = np.load("x.npz")
    whole = np.zeros((20, 1, 28, 28), np.uint8)  # two columns, the second partly empty
    cells = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18]
    whole[cells] = stored["x"]
    assert np.array_equal(np.asarray(grid_image(whole, 2)), np.asarray(Image.open("x.png")))


def test_by_default_a_conditional_grid_is_full(cli: Cli, conditional: str) -> None:
    result = cli("sample", conditional)
    assert result.out.strip().endswith("n70-seed0.png")


def test_the_interface_draws_labels_itself(conditional: str) -> None:
    model = gentool.load(conditional)
    two = model.sample(2)
    assert torch.equal(two, model.sample(2, labels=torch.tensor([0, 1])))
    torch.testing.assert_close(two, model.sample(30)[:2])


def test_a_folder_names_the_classes(cli: Cli, conditional: str) -> None:
    assert cli("sample", conditional, "--n", 12, "--out", "many/").code == 0
    rows = table(Path("many"))
    assert len(rows) == 12 and sorted(p.name for p in Path("many").glob("*.png")) == sorted(
        row["file"] for row in rows
    )
    names = gentool.load(conditional).header.data.classes
    for row in rows:
        assert names[int(row["label"])] == row["class"]
        assert f"-{row['class']}.png" in row["file"]
    assert cli("sample", conditional, "--class", names[7], "--n", 3, "--out", "seven/").code == 0
    assert {row["label"] for row in table(Path("seven"))} == {"7"}


def test_strange_class_names_make_no_strange_files(tmp_path: Path) -> None:
    classes = ("../../evil", "T-shirt/top", "\x1b[2J", "x" * 300, "")
    x = np.zeros((5, 1, 2, 2), np.float32)
    samples.write_folder(tmp_path / "out", [x], range(5), classes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    names = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert names[0] == "000000-evil.png" and names[1] == "000001-T-shirt-top.png"
    assert all(name.isprintable() and len(name) < 60 for name in names)


def test_labels_that_came_with_the_latents(cli: Cli, conditional: str) -> None:
    z = np.zeros((4, 3), np.float32)
    np.savez("z.npz", z=z, labels=np.array([3, 1, 4, 1]))
    assert cli("sample", conditional, "--z", "z.npz", "--out", "x.npz").code == 0
    assert np.load("x.npz")["labels"].tolist() == [3, 1, 4, 1]


def test_a_name_with_a_slash_is_a_folder(cli: Cli, run: str) -> None:
    assert cli("sample", run, "--n", 2, "--out", "samples_v1.0/").code == 0
    assert sorted(p.name for p in Path("samples_v1.0").iterdir()) == ["000000.png", "000001.png"]
    assert "none of grid.png" in cli("sample", run, "--n", 2, "--out", "other_v1.0").err


def test_out_is_checked_before_anything_is_drawn(
    cli: Cli, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("drawn")

    Path("file").write_text("")
    Path("full").mkdir()
    Path("full/precious").write_text("")
    monkeypatch.setattr("gentool.sampling.sampling_noise", never)
    for out in ("x.gif", "file/x.png", "file/x.npz", "file/x/", "full", "full/", "a" * 300 + "/"):
        result = cli("sample", run, "--out", out)
        assert result.code == 2 and len(result.err.splitlines()) == 1, result


def pieces(shape: tuple[int, ...], chunks: int, fail: bool = False) -> Iterator[np.ndarray]:
    """Chunks of four; when one is asked for, the last may still be held, none before it."""
    chance = np.random.default_rng(0)
    given: list[weakref.ref[np.ndarray]] = []
    for i in range(chunks):
        assert all(one() is None for one in given[:-1]), "an old chunk is still held"
        x = chance.random((4, *shape), dtype=np.float32)
        given.append(weakref.ref(x))
        if fail and i == chunks - 1:
            raise KeyboardInterrupt
        yield x
        del x


def test_memory_does_not_grow_with_n(tmp_path: Path) -> None:
    shape, out = (1, 3, 3), tmp_path / "x"
    whole = np.concatenate([x.copy() for x in pieces(shape, 6)])
    pixels = np.rint(whole * 255).astype(np.uint8)
    samples.write_arrays(out.with_suffix(".npz"), pieces(shape, 6), 24, shape, {"z": whole})
    stored = np.load(out.with_suffix(".npz"), allow_pickle=False)
    assert np.array_equal(stored["x"], pixels) and np.array_equal(stored["z"], whole)
    samples.write_grid(out.with_suffix(".png"), pieces(shape, 6), 24, shape)
    assert np.array_equal(np.asarray(Image.open(out.with_suffix(".png"))), grid_image(pixels))
    samples.write_folder(out, pieces(shape, 6))
    read = np.stack([np.asarray(Image.open(p)) for p in sorted(out.glob("*.png"))])
    assert np.array_equal(read, pixels[:, 0])
    samples.write_plot(tmp_path / "plot.png", pieces((5,), 6))
    assert Image.open(tmp_path / "plot.png").size[0] > 300


def test_what_an_interrupted_drawing_leaves(tmp_path: Path) -> None:
    """A folder keeps whole files and the list of them; a single file is there or not."""
    shape = (1, 3, 3)
    out = tmp_path / "many"
    with pytest.raises(KeyboardInterrupt):
        samples.write_folder(out, pieces(shape, 3, fail=True), [0] * 12, ("a",))
    left = sorted(p.name for p in out.iterdir())
    assert left == [*(f"{i:06d}-a.png" for i in range(8)), "labels.csv"]
    for path in out.glob("*.png"):
        Image.open(path).load()
    assert len(table(out)) == 8
    for write in (samples.write_arrays, samples.write_grid):
        with pytest.raises(KeyboardInterrupt):
            more = ({},) if write is samples.write_arrays else ()
            write(tmp_path / "one.npz", pieces(shape, 3, fail=True), 12, shape, *more)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many"]


def test_too_many_for_one_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too many for one picture"):
        samples.write_grid(tmp_path / "x.png", iter(()), 1_000_000, (1, 28, 28))
    assert not list(tmp_path.iterdir())


def bomb(path: Path, rows: int, columns: int) -> None:
    """Zeros that deflate a thousandfold."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("z.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(rows * columns * 8 // 2**20 + 1):
            file.write(bytes(2**20))


@pytest.mark.slow
def test_latents_made_to_do_harm(cli: Cli, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb(Path("bomb.npz"), 2**24, 3)
    assert Path("bomb.npz").stat().st_size < 2**20
    np.save("large.npy", np.full((2, 3), 1e300))
    np.save("objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save("nan.npy", np.full((2, 3), np.nan))
    Path("text.npy").write_text("z")
    cases = {"bomb": ".npz", "large": ".npy", "objects": ".npy", "nan": ".npy", "text": ".npy"}
    read: list[int] = []
    monkeypatch.setattr("gentool.data.sources.npyfile._read_exactly", lambda f, n: read.append(n))
    for name in ("bomb", "objects", "text"):
        result = cli("sample", run, "--z", name + cases[name])
        assert result.code == 2 and len(result.err.splitlines()) == 1, result
    assert not read, "something was read of a file that is refused"
    monkeypatch.undo()


@pytest.mark.parametrize("value", [1e300, np.nan, -np.inf])
def test_latents_that_are_no_numbers(cli: Cli, run: str, value: float) -> None:
    np.save("z.npy", np.full((2, 3), value))
    result = cli("sample", run, "--z", "z.npy")
    assert result.code == 2 and "NaN or infinity" in result.err


def test_numbers_that_are_too_long(cli: Cli, run: str) -> None:
    for option in ("--seed", "--n"):
        for value in ("1" + "0" * 23, "9" * 5000, "1e23", "-1"):
            result = cli("sample", run, option, value)
            assert result.code == 2 and len(result.err.splitlines()) == 1, result
            assert option in result.err and len(result.err) < 500
