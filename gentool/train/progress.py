"""How a training stands, for whoever follows it from Python. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainProgress:
    """What a ``progress`` function is called with: a few times a second, and after every epoch.

    Attributes:
        step, total: batches trained on so far, and in the whole training.
        epoch, epochs: the same in passes over the data, counted from 1.
        examples_per_s: training examples a second since the epoch began.
        loss: the first player's mean loss since the last row of metrics.jsonl; None without one.
        rows: after an epoch, its scalars by split (``train``, ``test``, ``samples``); else None.
        warning: a sentence that a person should read; these come alone.
    """

    step: int
    total: int
    epoch: int
    epochs: int
    examples_per_s: float = 0.0
    loss: float | None = None
    rows: Mapping[str, Mapping[str, Any]] | None = None
    warning: str = ""


Follower = Callable[[TrainProgress], None]
