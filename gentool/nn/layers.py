"""Layers, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def at_least_fp32(x: Tensor) -> Tensor:
    """Half precision widened; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mlp(
    inputs: int,
    hidden: Iterable[int],
    outputs: int,
    activation: Callable[[], nn.Module],
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Sequential:
    """A multi-layer perceptron (N, inputs) → (N, outputs), linear at the end."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(inputs, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class FromVector(nn.ConvTranspose2d):
    """(N, D) → (N, C, H, W): the transposed convolution of a single pixel by an H×W kernel.

    That is one matrix product, and much quicker as one. Weights lie as the convolution's.
    """

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__(inputs, outputs, size, bias=False)

    def forward(self, z: Tensor) -> Tensor:  # type: ignore[override]
        weight = self.weight.permute(0, 2, 3, 1)  # (D, H, W, C): channels last
        image: Tensor = (z @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 3, 1, 2)
        return image


class ToVector(nn.Conv2d):
    """(N, C, H, W) → (N, K): the convolution by kernels as large as the image, a matrix product."""

    def forward(self, h: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(h.permute(0, 2, 3, 1).flatten(1), weight, self.bias)


def halvings(height: int, width: int, smallest: int = 4) -> list[tuple[int, int]]:
    """Image sizes from (height, width) down, each half of the last one, rounded down.

    It ends where another halving would leave a side below `smallest`: 64 → 32 → 16 → 8 → 4 and
    28 → 14 → 7. Raises ValueError for an image that cannot be halved once.
    """
    sizes = [(height, width)]
    while min(sizes[-1]) // 2 >= smallest:
        h, w = sizes[-1]
        sizes.append((h // 2, w // 2))
    if len(sizes) == 1:
        raise ValueError(
            f"images of {width}×{height} are too small for convolutions that halve them; "
            f"make them at least {2 * smallest} pixels a side with --size"
        )
    return sizes
