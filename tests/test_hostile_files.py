"""A run folder from somebody else: nothing in it leads reading or writing elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Result
from hostile import newest, refused

Cli = Callable[..., Result]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user, which must be afterwards what it was before."""
    folder = tmp_path / "home"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("mine")
    yield folder
    left = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
    assert left == ["file", "inner"] and (folder / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", "samples", "README.md", "state"])
def test_resume_writes_through_no_link(cli: Cli, run: Path, outside: Path, name: str) -> None:
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "inner" if name in ("samples", "state") else outside / "file")
    refused(cli("resume", "run", "--epochs", "3"), "symbolic link")


def test_resume_writes_to_no_second_name(cli: Cli, run: Path, outside: Path) -> None:
    (run / "metrics.jsonl").unlink()
    os.link(outside / "file", run / "metrics.jsonl")
    refused(cli("resume", "run", "--epochs", "3"), "hard link")


MADE = {
    "sample": ("sampled", ("sample", "run")),
    "evaluate": ("results", ("evaluate", "run", "--n", "10")),
    "interpolate": ("latent", ("interpolate", "run", "seed:1", "seed:2")),
    "restore": ("restored", ("restore", "run", "seed:1", "--noise", "0.1")),
}
"""The folder that a verb writes to in a run, and the verb."""


@pytest.mark.parametrize(("name", "words"), MADE.values(), ids=MADE.keys())
def test_what_is_made_of_a_run_stays_in_it(
    cli: Cli, run: Path, outside: Path, name: str, words: tuple[str, ...]
) -> None:
    (run / name).symlink_to(outside / "inner")
    refused(cli(*words), "symbolic link")


@pytest.mark.parametrize("kind", ["pipe", "sparse"])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "manifest.json", "weights"])
def test_a_pipe_or_an_endless_file_is_refused_at_once(
    cli: Cli, run: Path, name: str, kind: str
) -> None:
    last = newest(run)
    for other in (run / "state").iterdir():  # no other checkpoint to fall back to
        if other != last:
            shutil.rmtree(other)
    places = {"manifest.json": last / name, "weights": last / "weights.safetensors"}
    path = places.get(name, run / name)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(2**42)
    result = cli("resume", "run", "--epochs", "3")
    if (name, kind) == ("metrics.jsonl", "sparse"):  # cut to what the checkpoint knows of
        assert result.code == 0 and "rows are missing" in result.err
    else:
        words = "no regular file" if kind == "pipe" else "the most that are read"
        refused(result, words, *(["intact checkpoint"] if name in places else []))
    assert "Traceback" not in cli("runs", "show", str(run)).err


def test_latest_may_be_no_pipe(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs" / ".latest")
    refused(cli("resume"), "there is no run here yet")
