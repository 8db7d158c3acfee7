"""Checkpoints: everything a run needs to go on bit for bit, in one directory, renamed whole.

state/step-000000469/
    weights.safetensors   the raw parameters and buffers
    average.safetensors   their moving average, with --ema
    optim.safetensors     optimizer tensors, running sums, generator states
    state.json            counters, and optimizer entries that are no tensors
    manifest.json         size and SHA-256 of each file above
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gentool.errors import UserError, printable
from gentool.files import fsync_directory, user_errors, write_json
from gentool.weights import read_tensors, save_tensors

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint directory.

    Attributes:
        groups: tensors by file stem: ``weights``, ``average`` (may be absent), ``optim``.
        values: plain JSON: counters and the like.
    """

    groups: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


def save(root: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint below `root` aside, rename it, and drop all but the `keep` newest.

    Later steps are an abandoned future (a damaged one that was passed over): they go as well.
    """
    final = root / f"step-{step:09d}"
    aside = root / f".{final.name}.tmp"
    if final.exists() and _damage(final) is None:
        return final  # the same step saved again: what is there is as good
    with user_errors("the checkpoint", final):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for stem, tensors in checkpoint.groups.items():
            save_tensors(aside / f"{stem}.safetensors", tensors)
        write_json(aside / "state.json", dict(checkpoint.values))
        entries = {p.name: _entry(p) for p in sorted(aside.iterdir())}
        write_json(aside / MANIFEST, entries)
        if final.exists():  # damaged
            shutil.rmtree(final)
        aside.replace(final)
        fsync_directory(root)
    directories = stored(root)
    now = directories.index(final)
    for old in [*directories[: max(0, now + 1 - keep)], *directories[now + 1 :]]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def stored(root: Path) -> list[Path]:
    """The checkpoint directories below `root`, oldest first."""
    return sorted(p for p in root.glob("step-*") if p.is_dir())


def load_newest(root: Path) -> Checkpoint:
    """The newest checkpoint whose files are what its manifest says.

    A damaged one is passed over with a warning; raises UserError where none is left.
    """
    directories = stored(root)
    for path in reversed(directories):
        problem = _damage(path)
        if problem is None:
            return _read(path)
        warnings.warn(
            f"the checkpoint {printable(str(path))} is damaged ({problem}); trying the one before",
            stacklevel=2,
        )
    kind = "intact checkpoint" if directories else "checkpoint"
    raise UserError(f"there is no {kind} in {printable(str(root))}; train the run again")


def _read(path: Path) -> Checkpoint:
    groups = {p.stem: read_tensors(p) for p in sorted(path.glob("*.safetensors"))}
    return Checkpoint(groups, json.loads((path / "state.json").read_text(encoding="utf-8")))


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint directory, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if not {"weights.safetensors", "optim.safetensors", "state.json"} <= manifest.keys():
            return "its manifest is incomplete"
        for name, entry in manifest.items():
            if Path(name).name != name or _entry(path / name) != entry:
                return f"{printable(name)} is not what was written"
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return printable(str(error), 100)
    return None


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
