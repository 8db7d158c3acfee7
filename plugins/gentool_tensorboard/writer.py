"""Event files, one writer a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from gentool.runs import Run

FOLDER = "tensorboard"

_writers: dict[Path, SummaryWriter] = {}


def start(run: Run, config: Mapping[str, Any]) -> None:
    """Open the run's event file; a resumed run hides what came after its checkpoint."""
    last = max((int(row["step"]) for row in run.read_metrics()), default=-1)
    writer = SummaryWriter(str(run.path / FOLDER), purge_step=last + 1 if last >= 0 else None)
    shown = {**config.get("config", {}), **config.get("settings", {})}
    rows = "".join(f"| {name} | {value} |\n" for name, value in shown.items())
    writer.add_text("options", f"| option | value |\n| --- | --- |\n{rows}", max(last, 0))
    _writers[run.path] = writer


def log(run: Run, row: Mapping[str, Any]) -> None:
    """Write a row's numbers as ``split/name``, and its warning as text."""
    for name, value in row.items():
        if isinstance(value, int | float) and name not in ("epoch", "step"):
            _writers[run.path].add_scalar(f"{row['split']}/{name}", value, row["step"])
    if "warning" in row:
        _writers[run.path].add_text("warnings", str(row["warning"]), row["step"])


def show_samples(run: Run, step: int) -> None:
    """Write the picture that the epoch left, where it left one."""
    picture = run.samples / f"{step:06d}.png"
    if picture.exists():
        import numpy as np
        from PIL import Image

        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
        _writers[run.path].add_image("samples", pixels, step, dataformats="HWC")
    _writers[run.path].flush()


def end(run: Run, how: str) -> None:
    """Close the event file with a last word."""
    if (writer := _writers.pop(run.path, None)) is not None:
        writer.add_text("ended", how)
        writer.close()
