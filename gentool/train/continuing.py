"""What a person is told of a run that goes on: from where, how far, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gentool.errors import UserError, printable
from gentool.runs import Run
from gentool.train.loop import Trainer
from gentool.train.state import Checkpoint


def refuse_less(
    run: Run, trainer: Trainer, checkpoint: Checkpoint, changes: Mapping[str, Any]
) -> None:
    """Refuse a length that the run is beyond already, before anything of it is touched.

    Raises:
        UserError: where training would end before the step of `checkpoint`.
    """
    step = checkpoint.values["step"]
    # What no training counts to is refused by name when the checkpoint is taken up.
    if not isinstance(step, int) or not trainer.total < step < 2**53:
        return
    asked = [f"--{k} {changes[k]}" for k in ("epochs", "steps") if changes.get(k) is not None]
    raise UserError(
        f"{printable(str(run.path))} has {in_epochs(step, trainer.loader.per_epoch)} behind it "
        f"already, and {' '.join(asked) or 'its config'} ends at step {trainer.total}; ask for "
        "more, or leave it out to train to the end that was asked for first"
    )


def standing(run: Run, trainer: Trainer) -> str:
    """Where a run goes on, or that it has nothing left to do."""
    name, per_epoch = printable(str(run.path)), trainer.loader.per_epoch
    if trainer.step >= trainer.total:
        return f"{name} is finished at step {trainer.step}; ask for more with --epochs"
    now, end = trainer.step, trainer.total
    return f"resuming {name} after {in_epochs(now, per_epoch)}, to {in_epochs(end, per_epoch)}"


def in_epochs(step: int, per_epoch: int) -> str:
    """``16 epochs (step 7504)``, or ``16.5 epochs (step 7738)`` in the middle of one."""
    epochs = step / per_epoch
    number = f"{epochs:.0f}" if step % per_epoch == 0 else f"{epochs:.2f}"
    return f"{number} {'epoch' if number == '1' else 'epochs'} (step {step})"
