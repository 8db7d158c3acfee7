"""A few random projections, as compressed sensing takes them (Bora et al. 2017, section 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.restore.operators.base import Operator

MOST_NUMBERS = 100_000_000
"""Entries of A: 400 MB."""


class Measure(Operator):
    """y = A x with A (m, n), independent N(0, 1/m), so that E‖A x‖² = ‖x‖²."""

    def __init__(self, m: int, shape: tuple[int, ...], seed: int = 0) -> None:
        n = math.prod(shape)
        generator = torch.Generator().manual_seed(seed)
        self.a = torch.randn(m, n, generator=generator) / math.sqrt(m)
        self.name, self.shape, self.out_shape = f"{m} measurements", tuple(shape), (m,)

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.a.to(x.device, x.dtype).T


def make(argument: str, shape: tuple[int, ...], seed: int) -> Measure:
    """What ``--measure ARGUMENT`` means for examples of a shape; raises UserError."""
    m = int(argument) if argument.isascii() and argument.isdecimal() and len(argument) < 9 else 0
    n = math.prod(shape)
    if not 1 <= m <= MOST_NUMBERS // n:
        raise UserError(
            f"--measure {printable(argument, 20)} is no number of random projections from 1 to "
            f"{MOST_NUMBERS // n:,}; try {max(1, n // 8)}"
        )
    return Measure(m, shape, seed)
