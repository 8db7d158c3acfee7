"""Checkpoints: everything a run needs to go on bit for bit, in one directory, renamed whole.

state/step-000000469/
    weights.safetensors   the raw parameters and buffers
    average.safetensors   their moving average, with --ema
    optim.safetensors     optimizer tensors, running sums, generator states
    state.json            counters, and optimizer entries that are no tensors
    manifest.json         size and SHA-256 of each file above
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gentool.checkpoints import STEP
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.weights import read_open_tensors, tensor_bytes

MANIFEST, VALUES = "manifest.json", "state.json"
GROUPS = ("weights", "average", "optim")
MOST_VALUES = 2**26
"""Bytes of a JSON file of a checkpoint."""

MOST_TENSORS = 2**40
"""Bytes of a file of tensors, where nobody knows how many there should be."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint directory.

    Attributes:
        groups: tensors by file stem: ``weights``, ``average`` (may be absent), ``optim``.
        values: plain JSON: counters and the like.
        path: where it was read from, for messages.
    """

    groups: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]
    path: Path = Path()


def save(state: Folder, step: int, checkpoint: Checkpoint, keep: int) -> None:
    """Write a checkpoint into a folder aside, rename it, and drop all but the `keep` newest.

    Later steps are an abandoned future (a damaged one that was passed over): they go as well.
    """
    final = f"step-{step:09d}"
    aside = f".{final}.tmp"
    with user_errors("the checkpoint", state.path / final):
        if final in stored(state) and _damage(state, final, MOST_TENSORS) is None:
            return  # the same step saved again: what is there is as good
        _drop(state, aside)
        with state.folder(aside, make=True) as new:
            for stem, tensors in checkpoint.groups.items():
                new.write(f"{stem}.safetensors", tensor_bytes(tensors))
            new.write_json(VALUES, dict(checkpoint.values))
            entries = {name: _entry(new, name, MOST_TENSORS) for name in new.names()}
            new.write_json(MANIFEST, entries)
        _drop(state, final)  # damaged
        state.rename(aside, final)
        state.sync()
    names = stored(state)
    now = names.index(final)
    for old in [*names[: max(0, now + 1 - keep)], *names[now + 1 :]]:
        with contextlib.suppress(OSError):
            state.remove(old)


def _drop(folder: Folder, name: str) -> None:
    if folder.has(name):
        folder.remove(name)


def stored(state: Folder) -> list[str]:
    """The names of the checkpoints in a run's ``state``, oldest first."""
    found = [(int(match[1]), name) for name in state.names() if (match := STEP.fullmatch(name))]
    return [name for _, name in sorted(found)]


def load_newest(state: Path | Folder, most: int = MOST_TENSORS) -> Checkpoint:
    """The newest checkpoint whose files are what its manifest says.

    A damaged one is passed over with a warning; raises UserError where none is left.

    Args:
        state: a run's ``state``.
        most: bytes that a file of tensors may have; one with more is damaged.
    """
    with _opened(state) as folder:
        names = stored(folder)
        for name in reversed(names):
            try:
                return _read(folder, name, most)
            except (OSError, ValueError, UserError, RecursionError) as error:
                shown = printable(str(folder.path / name))
                reason = printable(getattr(error, "strerror", None) or str(error), 160)
                warnings.warn(
                    f"the checkpoint {shown} is damaged ({reason}); trying the one before",
                    stacklevel=2,
                )
        kind = "intact checkpoint" if names else "checkpoint"
        where = printable(str(folder.path))
    raise UserError(f"there is no {kind} in {where}; train the run again")


@contextmanager
def _opened(state: Path | Folder) -> Iterator[Folder]:
    if isinstance(state, Folder):
        yield state
        return
    try:
        folder = Folder(state)
    except OSError as error:
        shown = printable(str(state))
        reason = error.strerror or str(error)
        raise UserError(f"the checkpoints {shown} cannot be read: {reason}") from error
    with folder:
        yield folder


def _read(state: Folder, name: str, most: int) -> Checkpoint:
    """Raises OSError, ValueError or UserError for one that is not what was written."""
    problem = _damage(state, name, most)
    if problem is not None:
        raise ValueError(problem)
    with state.folder(name) as folder:
        groups = {}
        for stem in GROUPS:
            if f"{stem}.safetensors" in folder.names():
                with folder.open(f"{stem}.safetensors", most) as file:
                    groups[stem] = read_open_tensors(file, folder.path / f"{stem}.safetensors")
        values = json.loads(folder.read(VALUES, MOST_VALUES))
        if not isinstance(values, dict):
            raise ValueError(f"{VALUES} holds no JSON object")
        return Checkpoint(groups, values, folder.path)


def _damage(state: Folder, name: str, most: int) -> str | None:
    """What is wrong with a checkpoint directory, or None."""
    try:
        with state.folder(name) as folder:
            manifest = json.loads(folder.read(MANIFEST, MOST_VALUES))
            known = {VALUES, *(f"{stem}.safetensors" for stem in GROUPS)}
            if not isinstance(manifest, dict) or not (
                known - {"average.safetensors"} <= manifest.keys() <= known
            ):
                return "its manifest is incomplete"
            for file, entry in manifest.items():
                if _entry(folder, file, most) != entry:
                    return f"{file} is not what was written"
    except (OSError, ValueError, RecursionError) as error:
        return printable(getattr(error, "strerror", None) or str(error), 160)
    return None


def _entry(folder: Folder, name: str, most: int) -> dict[str, Any]:
    """The size and hash of a file, which the manifest keeps."""
    with folder.open(name, most) as file:
        digest = hashlib.sha256()
        size = 0
        while chunk := file.read(2**20):
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}
