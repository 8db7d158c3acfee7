"""Freeing the checkpoints of finished runs; models, curves and pictures stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from gentool.errors import UserError, printable
from gentool.folder import Folder
from gentool.runs import Run
from gentool.train.lock import locked
from gentool.train.standing import standing
from gentool.train.state import stored
from gentool.train.status import read_status


@dataclass(frozen=True)
class Freeable:
    """What a finished run's checkpoints take.

    Attributes:
        names: of the checkpoints that may go, oldest first.
        size: their bytes.
        averaged: the run samples from an average; its raw weights lie in checkpoints alone.
    """

    run: Run
    names: list[str]
    size: int
    averaged: bool


def freeable(runs: Iterable[Run], keep: int) -> tuple[list[Freeable], list[tuple[Run, str]]]:
    """What may go of finished runs, and why other runs are left alone.

    Args:
        keep: newest checkpoints that stay.
    """
    found: list[Freeable] = []
    passed: list[tuple[Run, str]] = []
    for run in runs:
        try:
            stand = standing(run)
            if stand.state != "finished":
                passed.append((run, f"it is {stand.state}, and needs its checkpoints to go on"))
                continue
            with run.folder() as folder:
                if not folder.has(run.model.name):
                    passed.append((run, "its weights lie in its checkpoints alone"))
                    continue
                names = _old(folder, run, keep)
                size = _size(folder, run, names)
        except (UserError, OSError) as error:
            passed.append((run, str(error)))
            continue
        if names:
            found.append(Freeable(run, names, size, bool(stand.settings.get("ema"))))
    return found, passed


def free(what: Freeable, keep: int) -> None:
    """Remove a run's checkpoints, with the run locked; raises UserError where it goes on again."""
    shown = printable(str(what.run.path))
    with locked(what.run.path) as folder:
        status = read_status(folder)
        resumed = status is not None and status.state != "finished"
        if resumed or _old(folder, what.run, keep) != what.names:
            raise UserError(f"the run {shown} has changed meanwhile; nothing of it was removed")
        try:
            with folder.folder(what.run.state.name) as state:
                for name in what.names:
                    state.remove(name)
                state.sync()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"a checkpoint of {shown} cannot be removed: {reason}") from error


def _old(folder: Folder, run: Run, keep: int) -> list[str]:
    """All but the `keep` newest checkpoints of an open run."""
    if not folder.has(run.state.name):
        return []
    with folder.folder(run.state.name) as state:
        names = stored(state)
    return names[: max(0, len(names) - keep)]


def _size(folder: Folder, run: Run, names: list[str]) -> int:
    """Bytes of the files in checkpoints; no link is followed."""
    total = 0
    if not names:
        return total
    with folder.folder(run.state.name) as state:
        for name in names:
            for _, _, files, here in os.fwalk(name, dir_fd=state.descriptor):
                for file in files:
                    status = os.stat(file, dir_fd=here, follow_symlinks=False)
                    total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
