"""A smaller image: each value the mean of a block of pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from gentool.errors import UserError, printable
from gentool.restore.operators.base import Operator


class Scale(Operator):
    """(C, H, W) → (C, H/s, W/s), the means of s×s blocks."""

    def __init__(self, factor: int, shape: tuple[int, ...]) -> None:
        channels, height, width = shape
        self.factor, self.shape, self.name = factor, tuple(shape), f"×{factor} smaller"
        self.out_shape = (channels, height // factor, width // factor)

    def __call__(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def preview(self, y: Tensor) -> Tensor:
        big = y.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        return big.clamp(0, 1)


def make(argument: str, shape: tuple[int, ...], seed: int) -> Scale:
    """What ``--scale ARGUMENT`` means for images of a shape (C, H, W); raises UserError."""
    if len(shape) != 3:
        raise UserError("--scale is for images, and this model makes points")
    _, height, width = shape
    factor = int(argument) if argument.isascii() and argument.isdecimal() else 0
    if factor < 1 or height % factor or width % factor:
        fitting = [s for s in range(2, min(height, width) + 1) if not (height % s or width % s)]
        known = ", ".join(map(str, fitting[:8])) or "none"
        raise UserError(
            f"--scale {printable(argument, 20)} does not divide images of {width}x{height} pixels "
            f"(width x height); factors that do: {known}"
        )
    return Scale(factor, shape)
