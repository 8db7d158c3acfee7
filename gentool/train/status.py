"""status.json: how a training stands, written while it goes on, for whoever asks from outside.

No torch here: it is read by ``gentool runs``. Nothing depends on it, and a run without one is
judged by its metrics.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from gentool.folder import Folder

NAME, REQUEST = "status.json", "checkpoint-wanted"
"""The second is a file that ``gentool runs checkpoint`` leaves, and the training takes away."""

STATES = ("training", "stopped", "failed", "finished")
SIZE = 1024
"""Bytes of the file, always: it is written in one piece over itself, so no reader sees a part."""

INTERVAL = 2.0
"""Seconds between two looks at the request, and two notes."""


@dataclass(frozen=True)
class Status:
    """What a training noted of itself.

    Attributes:
        state: one of `STATES`, when it was written; a killed process leaves "training".
        step, total: batches so far, and in the whole training.
        epoch, epochs: the same in passes over the data, counted from 1.
        examples_per_s: training examples a second since the epoch began.
        reason: why it stopped or failed.
        time: when it was written, seconds since 1970.
    """

    state: str
    step: int = 0
    total: int = 0
    epoch: int = 0
    epochs: int = 0
    examples_per_s: float = 0.0
    reason: str = ""
    time: float = 0.0


class StatusFile:
    """Writes the status of a run, in its open folder; what cannot be written is not."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time to look and to write again; asked after every step."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + INTERVAL
        return True

    def write(self, status: Status) -> None:
        """Replace what is there."""
        values = asdict(status) | {
            "examples_per_s": round(status.examples_per_s, 1),
            "reason": status.reason[:300],
            "time": round(time.time(), 1),
        }
        content = json.dumps(values).encode()
        if len(content) >= SIZE:  # escapes make letters longer
            content = json.dumps(values | {"reason": ""}).encode()
        with contextlib.suppress(OSError):
            descriptor = self.folder.open_own(NAME)
            try:
                os.pwrite(descriptor, content.ljust(SIZE - 1) + b"\n", 0)
                os.ftruncate(descriptor, SIZE)
            finally:
                os.close(descriptor)

    def save_is_wanted(self) -> bool:
        """Whether somebody asked for a checkpoint."""
        try:
            return self.folder.has(REQUEST)
        except OSError:
            return False

    def saved(self) -> None:
        """Say that the checkpoint that was asked for is on disk."""
        with contextlib.suppress(OSError):
            self.folder.remove(REQUEST)


def read_status(folder: Folder) -> Status | None:
    """The status in a run's open folder; None where there is none that makes sense."""
    try:
        value = json.loads(folder.read(NAME, 4 * SIZE))
        given = {f.name: value[f.name] for f in fields(Status)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Status(**given) if _is_sound(given) else None


def _is_sound(given: dict[str, Any]) -> bool:
    counts = [given[name] for name in ("step", "total", "epoch", "epochs")]
    numbers = [given[name] for name in ("examples_per_s", "time")]
    return (
        given["state"] in STATES
        and isinstance(given["reason"], str)
        and all(type(n) is int and 0 <= n < 2**53 for n in counts)
        and all(type(n) in (int, float) and math.isfinite(n) and 0 <= n < 2**53 for n in numbers)
    )
