"""Progress for people, on stderr: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

UNSPOKEN = frozenset({"grad_norm", "examples_per_s"})
"""Scalars for metrics.jsonl that would only lengthen the line."""


class Display:
    """Shows where training stands. Reading a loss waits for the device, so it is asked rarely."""

    INTERVAL = 0.25

    def __init__(
        self,
        total_steps: int,
        per_epoch: int,
        batch_size: int,
        start: int = 0,
        speaks: bool = True,
    ) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=not speaks)
        self.per_epoch, self.batch_size = per_epoch, batch_size
        self.epochs = -(-total_steps // per_epoch)
        self._next = self._epoch_began = time.monotonic()
        self._epoch_step = start
        self._bar: Progress | None = None
        if self.console.is_terminal and speaks:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=total_steps, completed=start, epoch="", note=""
            )
            self._bar.start()

    def due(self) -> bool:
        """Whether it is time to show the loss again."""
        return self._bar is not None and time.monotonic() >= self._next

    def step(self, step: int, loss: float | None) -> None:
        """Move the bar to `step`, with the mean loss since the last log line."""
        assert self._bar is not None
        self._next = time.monotonic() + self.INTERVAL
        note = f"{self.rate(step):,.0f} examples/s"
        if loss is not None:
            note = f"loss {loss:.4g}  {note}"
        epoch = f"{min(self.epochs, step // self.per_epoch + 1)}/{self.epochs}"
        self._bar.update(self._task, completed=step, epoch=epoch, note=note)

    def rate(self, step: int) -> float:
        """Training examples a second since the epoch began."""
        elapsed = max(1e-9, time.monotonic() - self._epoch_began)
        return (step - self._epoch_step) * self.batch_size / elapsed

    def epoch(self, number: int, rate: float, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Say in one line how an epoch ended; `rows` holds the scalars by split."""
        parts = []
        for split, row in rows.items():
            shown = [f"{k} {v:.4g}" for k, v in row.items() if k not in UNSPOKEN]
            parts.append(f"{split}: {'  '.join(shown)}")
        line = f"epoch {number}/{self.epochs}  {' | '.join(parts)} | {rate:,.0f} examples/s"
        self.console.print(line, soft_wrap=True, markup=False)

    def begin_epoch(self, step: int) -> None:
        """Start the clock of the next epoch; evaluation and pictures do not count as training."""
        self._epoch_began, self._epoch_step = time.monotonic(), step

    def say(self, text: str) -> None:
        """Print text as it is."""
        self.console.print(text, soft_wrap=True, markup=False)

    def warn(self, message: str) -> None:
        self.console.print(f"warning: {message}", soft_wrap=True, markup=False, style="yellow")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        sys.stderr.flush()
