"""Colour taken away: y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow's mode L)."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.restore.operators.base import Operator

WEIGHTS = (0.299, 0.587, 0.114)


class Grey(Operator):
    """(3, H, W) → (1, H, W), the luma of each pixel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.name, self.shape, self.out_shape = "grey", tuple(shape), (1, *shape[1:])

    def __call__(self, x: Tensor) -> Tensor:
        weights = torch.tensor(WEIGHTS, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
        grey: Tensor = (x * weights).sum(1, keepdim=True)
        return grey

    def preview(self, y: Tensor) -> Tensor:
        return y.expand(-1, 3, -1, -1).clamp(0, 1)


def make(argument: str, shape: tuple[int, ...], seed: int) -> Grey:
    """What ``--grey`` means for images of a shape (C, H, W); raises UserError."""
    if len(shape) != 3 or shape[0] != 3:
        what = "points" if len(shape) != 3 else f"images of {shape[0]} channel(s)"
        raise UserError(f"--grey is for models of colour images, and this model makes {what}")
    return Grey(shape)
