"""What tests of runs that somebody changed share: the change itself, and what must come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Result

from gentool.files import write_json
from gentool.folder import Folder
from gentool.train.state import _entry, stored

SMALL: dict[str, Any] = {"data": "glyphs:128", "hidden": (8,), "latent_dim": 2, "threads": 1}
"""A model that trains in a moment, as options of `gentool.train.job.from_options`."""


def newest(run: Path) -> Path:
    """The folder of the last checkpoint."""
    with Folder(run / "state") as state:
        return run / "state" / stored(state)[-1]


def reseal(checkpoint: Path) -> None:
    """A manifest that fits whatever the files are now."""
    with Folder(checkpoint) as folder:
        names = [n for n in folder.names() if n != "manifest.json"]
        entries = {name: _entry(folder, name, 2**30) for name in names}
    write_json(checkpoint / "manifest.json", entries)


def refused(result: Result, *words: str) -> None:
    """A sentence with these words and exit code 2, not a traceback."""
    assert result.code == 2 and "Traceback" not in result.err, result.err
    assert all(word in result.err for word in words), result.err
