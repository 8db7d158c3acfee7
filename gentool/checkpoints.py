"""Checkpoints of a run as something to look at: which there are, and the model each holds.

Reading one to go on is `gentool.train.state`'s.
"""

from __future__ import annotations

import re
from pathlib import Path

from gentool.errors import UserError, printable
from gentool.files import is_dir, is_file

STEP = re.compile(r"step-([0-9]{9,18})")
WEIGHTS, AVERAGE = "weights.safetensors", "average.safetensors"


def kept(state: Path) -> dict[int, Path]:
    """The checkpoints in a run's ``state`` by their step, oldest first."""
    if not is_dir(state):
        return {}
    found = {int(m[1]): path for path in state.iterdir() if (m := STEP.fullmatch(path.name))}
    return dict(sorted(found.items()))


def weights_of(checkpoint: Path) -> Path:
    """The file that samples: the average of the weights, where there is one; raises UserError."""
    for name in (AVERAGE, WEIGHTS):
        if is_file(checkpoint / name):
            return checkpoint / name
    raise UserError(f"the checkpoint {printable(str(checkpoint))} holds no weights")


def at_step(run: Path, step: int) -> Path:
    """The weights of the checkpoint of that step; raises UserError where it is not kept."""
    steps = kept(run / "state")
    if step in steps:
        return weights_of(steps[step])
    there = ", ".join(map(str, steps)) or "none"
    raise UserError(
        f"the run {printable(str(run))} keeps no checkpoint of step {step}; there are: {there} "
        "(train with a larger --keep to have more)"
    )


def run_of(path: Path) -> Path | None:
    """The run's folder that a checkpoint, or a file of weights in one, belongs to."""
    if path.name in (WEIGHTS, AVERAGE):
        path = path.parent
    inside = STEP.fullmatch(path.name) is not None and path.parent.name == "state"
    return path.parent.parent if inside else None
