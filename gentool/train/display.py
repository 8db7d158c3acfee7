"""Progress for people: a bar on a terminal, a line an epoch elsewhere, or a function's calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gentool.console import QUIET
from gentool.train.progress import Follower, TrainProgress

UNSPOKEN = ("grad_norm", "examples_per_s")
"""Scalars for metrics.jsonl that would only lengthen the line."""

WIDTH = 100
"""Columns of an epoch's line; what it leaves out is in metrics.jsonl."""

Rows = Mapping[str, Mapping[str, Any]]


def fitted(rows: Rows, width: int) -> str:
    """The scalars that fit, by split: the first of each split, then the second of each, and so on;
    none after the first that is too long."""
    spoken = {
        split: [f"{k} {v:.4g}" for k, v in row.items() if not k.endswith(UNSPOKEN)]
        for split, row in rows.items()
    }
    taken, text = dict.fromkeys(spoken, 0), ""
    for place in range(max(map(len, spoken.values()), default=0)):
        for split in [s for s, numbers in spoken.items() if place < len(numbers)]:
            taken[split] += 1
            parts = [f"{s}: {'  '.join(spoken[s][:n])}" for s, n in taken.items() if n]
            if len(" | ".join(parts)) > width:
                return text
            text = " | ".join(parts)
    return text


class Display:
    """Shows where training stands. Reading a loss waits for the device, so it is asked rarely."""

    INTERVAL = 0.25

    def __init__(self, total: int, per_epoch: int, batch_size: int, start: int = 0) -> None:
        """
        Args:
            total: steps in the whole training, `per_epoch` of them an epoch.
            batch_size: examples a step.
            start: steps taken before, of a resumed run.
        """
        self.total, self.per_epoch, self.batch_size = total, per_epoch, batch_size
        self.epochs = -(-total // per_epoch)
        self.begin_epoch(start)
        self._next = self._epoch_began

    def begin_epoch(self, step: int) -> None:
        """Start the clock of the next epoch; evaluation and pictures do not count as training."""
        self._epoch_began, self._epoch_step = time.monotonic(), step

    def rate(self, step: int) -> float:
        """Training examples a second since the epoch began."""
        elapsed = max(1e-9, time.monotonic() - self._epoch_began)
        return (step - self._epoch_step) * self.batch_size / elapsed

    def due(self) -> bool:
        """Whether it is time to show the loss again; asked after every step."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self.INTERVAL
        return True

    def step(self, step: int, loss: float | None) -> None:
        """Show that training is at `step`, with the mean loss since the last row of the log."""

    def epoch(self, number: int, step: int, rate: float, rows: Rows) -> None:
        """Show how an epoch ended; `rows` holds its scalars by split."""

    def say(self, text: str) -> None:
        """Show text as it is."""

    def warn(self, message: str) -> None:
        """Show a warning, given as one sentence without the word."""

    def close(self) -> None:
        """End, and leave the terminal as it was."""


class TerminalDisplay(Display):
    """On stderr: a bar and a line an epoch; where it is no terminal, the epochs' lines, and one a
    minute of an epoch that takes longer."""

    def __init__(self, total: int, per_epoch: int, batch_size: int, start: int = 0) -> None:
        super().__init__(total, per_epoch, batch_size, start)
        self.console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._spoke = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, completed=start, epoch="", note="")
            self._bar.start()

    def due(self) -> bool:
        if self._bar is None and time.monotonic() < self._spoke + QUIET:
            return False
        return super().due()

    def step(self, step: int, loss: float | None) -> None:
        note = f"{self.rate(step):,.0f} examples/s"
        if loss is not None:
            note = f"loss {loss:.4g}  {note}"
        epoch = f"{min(self.epochs, step // self.per_epoch + 1)}/{self.epochs}"
        if self._bar is None:
            self.say(f"epoch {epoch}, step {step:,} of {self.total:,}  {note}")
        else:
            self._bar.update(self._task, completed=step, epoch=epoch, note=note)

    def epoch(self, number: int, step: int, rate: float, rows: Rows) -> None:
        head, tail = f"epoch {number}/{self.epochs}  ", f" | {rate:,.0f} examples/s"
        self.say(head + fitted(rows, WIDTH - len(head) - len(tail)) + tail)

    def say(self, text: str) -> None:
        self._spoke = time.monotonic()
        self.console.print(text, soft_wrap=True, markup=False)

    def warn(self, message: str) -> None:
        self.console.print(f"warning: {message}", soft_wrap=True, markup=False, style="yellow")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        sys.stderr.flush()


class FollowedDisplay(Display):
    """Calls a function instead of writing to a terminal."""

    def __init__(
        self, follower: Follower, total: int, per_epoch: int, batch_size: int, start: int = 0
    ) -> None:
        super().__init__(total, per_epoch, batch_size, start)
        self.follower = follower
        self._now = start

    def step(self, step: int, loss: float | None) -> None:
        self._now = step
        self.follower(replace(self._stand(), examples_per_s=self.rate(step), loss=loss))

    def epoch(self, number: int, step: int, rate: float, rows: Rows) -> None:
        self._now = step
        stand = replace(self._stand(), epoch=number, examples_per_s=rate)
        loss = rows.get("train", {}).get("loss")
        self.follower(replace(stand, loss=loss, rows=rows))

    def warn(self, message: str) -> None:
        self.follower(replace(self._stand(), warning=message))

    def _stand(self) -> TrainProgress:
        epoch = min(self.epochs, self._now // self.per_epoch + 1)
        return TrainProgress(self._now, self.total, epoch, self.epochs)
