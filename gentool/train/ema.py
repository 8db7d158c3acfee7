"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gentool.model import Model


class EMA:
    """shadow ← decay·shadow + (1 − decay)·weights after every step; whole numbers are copied.

    Not torch's `AveragedModel`: its first update replaces the initial weights, and it averages
    whole numbers such as a batch norm's counter. The averaging itself is torch's.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.live = model.state_dict()  # aliases: training changes these tensors in place
        self.shadow = {k: v.detach().clone() for k, v in self.live.items()}
        self.floats = [k for k, v in self.live.items() if v.is_floating_point()]
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are now into the average."""
        shadows, lives = ([d[k] for k in self.floats] for d in (self.shadow, self.live))
        self._average(shadows, lives, 0)
        for k in self.live.keys() - set(self.floats):
            self.shadow[k].copy_(self.live[k])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        kept = {k: v.clone() for k, v in self.live.items()}
        for k, v in self.live.items():
            v.copy_(self.shadow[k])
        try:
            yield
        finally:
            for k, v in self.live.items():
                v.copy_(kept[k])
