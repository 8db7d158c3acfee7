"""Making a run this training's own: its lock, its folder, its data, and what it goes on from."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from gentool import index, runs
from gentool.data.dataset import Dataset
from gentool.errors import UserError, printable
from gentool.files import is_dir, read_regular, user_errors, write_bytes
from gentool.folder import Folder
from gentool.litter import sweep_run
from gentool.runs import Run, read_metrics
from gentool.train.distributed import World
from gentool.train.lock import locked
from gentool.train.state import Checkpoint, load_newest, stored


@contextmanager
def locked_run(run: Run, world: World) -> Iterator[Folder | None]:
    """Lock the run, by the process that writes it, and clear what a killed one left.

    Yields its folder, held open; None in the processes that do not write.
    """
    if not world.is_main:
        yield None
        return
    with locked(run.path) as folder:
        if links := folder.links():
            raise UserError(
                f"{printable(links[0])!r} in {printable(str(run.path))} is a symbolic link, and "
                "training would write where it leads; put the file itself there"
            )
        sweep_run(run.path)
        yield folder


@contextmanager
def new_run(
    out: Path | None, model: str, data: str, world: World
) -> Iterator[tuple[Run, Folder | None]]:
    """A new run, locked as by `locked_run`; where training is refused, no empty folder stays.

    Args:
        out: the run's folder; None for the next free one below ./runs.
        model, data: names, for that one.
    """
    latest, was_there = _pointer(), out is not None and is_dir(out)
    path = str(runs.create(out, model, data).path) if world.is_main else ""
    run = Run(Path(world.from_main(path)))
    try:
        with locked_run(run, world) as folder:
            if folder is not None:
                refuse_second(folder)
            yield run, folder
    except BaseException:
        if world.is_main:
            take_back(run, latest, keep_folder=was_there)
        raise


def _pointer() -> bytes | None:
    """What names the latest run, as it is written down; None where nothing is."""
    try:
        return read_regular(runs.LATEST, runs.LONGEST_PATH)
    except OSError:
        return None


def take_back(run: Run, latest: bytes | None, keep_folder: bool) -> None:
    """Undo `runs.create` for a run into which nothing was written; any other stays as it is.

    Args:
        latest: what the pointer to the latest run was before.
        keep_folder: the run's folder was there before, empty.
    """
    with contextlib.suppress(OSError):
        if any(entry.name != "samples" for entry in run.path.iterdir()):
            return
        if run.samples.is_dir():
            run.samples.rmdir()
        if not keep_folder:
            run.path.rmdir()
        index.forget(run.path)
        if latest is not None:
            write_bytes(runs.LATEST, latest)
        else:
            runs.LATEST.unlink(missing_ok=True)
            runs.ROOT.rmdir()


def newest(run: Run, most: int) -> Checkpoint | None:
    """What to go on from; None for a run that wrote nothing yet, which starts again.

    Raises UserError where a run has metrics but no checkpoint: it would be trained over.

    Args:
        most: bytes that a file of its tensors may have.
    """
    with run.folder() as folder:
        if folder.has(run.state.name):
            with user_errors("the checkpoints", run.state):
                state = folder.folder(run.state.name)
            with state:
                if stored(state):
                    return load_newest(state, most)
        if folder.has(run.metrics.name) and read_metrics(folder):
            raise UserError(
                f"the checkpoints of {printable(str(run.path))} are gone, so it cannot go on; "
                "its model can still be sampled, or train a new run"
            )
    return None


def refuse_second(folder: Folder) -> None:
    """Refuse a folder in which another training began since it was found to be empty."""
    if folder.has("config.json"):
        raise UserError(
            f"{printable(str(folder.path))} holds a run that began at the same time; "
            "choose another --out"
        )


def require_same_data(world: World, dataset: Dataset) -> None:
    """Raise UserError, in every process, where they do not all read the same data."""
    digest = hashlib.sha256(dataset.fingerprint.encode()).digest()
    mine = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
    if any(not torch.equal(mine, other) for other in world.gather(mine)):
        raise UserError(
            f"the processes read different data under the name {printable(dataset.name)!r}; give "
            "all of them the same files, and the same --data"
        )
