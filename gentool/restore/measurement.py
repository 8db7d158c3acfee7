"""What was seen of images: the operator, y, and how noisy it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.noise import sampling_noise
from gentool.restore.operators.base import Operator

TOLERANCE = 0.1
"""The standard deviation taken for y where none is given: what models get wrong about a pixel."""


@dataclass(frozen=True)
class Measurement:
    """y = A x + ε, ε ~ N(0, noise²), of N images.

    Attributes:
        operator: A.
        y: float32 (N, *out_shape); where nothing was measured its values mean nothing.
        noise: standard deviation of ε in the units of y, more than 0. None: none is known, so
            that values which A merely chooses have the model's own likelihood, where it has one,
            and others are taken to be within `TOLERANCE`.
    """

    operator: Operator
    y: Tensor
    noise: float | None = None

    def __post_init__(self) -> None:
        if tuple(self.y.shape[1:]) != tuple(self.operator.out_shape) or not len(self.y):
            raise UserError(
                f"what is left by {self.operator.name!r} has the shape "
                f"{tuple(self.operator.out_shape)}, and was given as {tuple(self.y.shape[1:])}"
            )
        if self.noise is not None and not 0 < self.noise < float("inf"):
            raise UserError(f"the noise is {self.noise}, but it must be more than 0 and finite")
        if not torch.isfinite(self.y[:, self.operator.measured]).all():
            raise UserError("what was measured holds NaN or infinity; leave such values missing")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def says_nothing(self) -> bool:
        """Whether not a single value was measured, so that p(z|y) is the prior."""
        return not bool(self.operator.measured.any())


def measure(
    x: Tensor, operator: Operator, noise: float | None = None, seed: int = 0
) -> Measurement:
    """Spoil clean images x (N, *shape): y = A x + ε with the noise of `seed`."""
    with torch.no_grad():
        y = operator(x)
        if noise is not None:
            drawn = sampling_noise(seed).normal("measurement", tuple(y.shape)).to(y)
            y = y + noise * drawn * operator.measured.to(y.device)
    return Measurement(operator, y, noise)
