"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gentool.model import Model


class EMA:
    """shadow ← d·shadow + (1 − d)·weights after every step; whole numbers are copied.

    d is the decay, and with a warm-up at most (1 + t) / (10 + t) after t steps, so that the average
    spans the last tenth of a training that has just begun and never holds the initial weights (the
    rule of TensorFlow's `ExponentialMovingAverage` with `num_updates`). What the average does for a
    game that circles its solution: Yazıcı et al. 2019, arXiv:1806.04498.

    Not torch's `AveragedModel`: its first update replaces the initial weights, and it averages
    whole numbers such as a batch norm's counter. The averaging itself is torch's.
    """

    def __init__(self, model: Model, decay: float, warm_up: bool = False) -> None:
        self.live = model.state_dict()  # aliases: training changes these tensors in place
        self.shadow = {k: v.detach().clone() for k, v in self.live.items()}
        self.floats = [k for k, v in self.live.items() if v.is_floating_point()]
        self.decay, self.warm_up = decay, warm_up

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights as they are now, after so many steps, into the average."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay
        shadows, lives = ([d[k] for k in self.floats] for d in (self.shadow, self.live))
        get_ema_multi_avg_fn(decay)(shadows, lives, 0)
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
