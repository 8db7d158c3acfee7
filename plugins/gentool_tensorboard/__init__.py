"""TensorBoard as a gentool plugin: ``gentool train MODEL --log tensorboard``. No torch here.

Scalars are written as ``split/name`` over steps, and the newest sample picture after each epoch,
into ``RUN/tensorboard``. Look at it with ``tensorboard --logdir runs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gentool.errors import UserError
from gentool.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from gentool.runs import Run

FOLDER = "tensorboard"
_writers: dict[Path, SummaryWriter] = {}


@hookimpl
def gentool_run_started(run: Run, config: Mapping[str, Any]) -> None:
    if find_spec("tensorboard") is None:
        raise UserError("--log tensorboard needs it; run: pip install 'gentool[tensorboard]'")
    from torch.utils.tensorboard import SummaryWriter

    # A resumed run purges what was written after the checkpoint it goes on from.
    rows = run.read_metrics()
    step = max((int(r["step"]) for r in rows), default=-1) + 1
    writer = SummaryWriter(str(run.path / FOLDER), purge_step=step or None)
    shown = {**config.get("config", {}), **config.get("settings", {})}
    table = "".join(f"| {k} | {v} |\n" for k, v in shown.items())
    writer.add_text("options", f"| option | value |\n| --- | --- |\n{table}", max(step - 1, 0))
    _writers[run.path] = writer


@hookimpl
def gentool_run_logged(run: Run, row: Mapping[str, Any]) -> None:
    writer, split = _writers[run.path], row["split"]
    for name, value in row.items():
        if isinstance(value, int | float) and name not in ("epoch", "step"):
            writer.add_scalar(f"{split}/{name}", value, row["step"])
    if "warning" in row:
        writer.add_text("warnings", str(row["warning"]), row["step"])


@hookimpl
def gentool_run_epoch_ended(run: Run, epoch: int, step: int) -> None:
    picture = run.samples / f"{step:06d}.png"
    if picture.exists():
        import numpy as np
        from PIL import Image

        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
        _writers[run.path].add_image("samples", pixels, step, dataformats="HWC")
    _writers[run.path].flush()


@hookimpl
def gentool_run_finished(run: Run) -> None:
    _close(run)


@hookimpl
def gentool_run_failed(run: Run, error: BaseException) -> None:
    writer = _writers.get(run.path)
    if writer is not None:
        writer.add_text("ended", f"{type(error).__name__}: {error}")
    _close(run)


def _close(run: Run) -> None:
    if (writer := _writers.pop(run.path, None)) is not None:
        writer.close()
