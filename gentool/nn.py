"""Building blocks that several models share. They know nothing of what they are used for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def one_hot(labels: Tensor | None, classes: int, like: Tensor) -> Tensor | None:
    """Labels (N,) as (N, classes) of the dtype of `like`; None for an unconditional model."""
    if not classes:
        return None
    if labels is None:
        raise ValueError("this model is class-conditional and needs labels")
    return F.one_hot(labels, classes).to(like.dtype)


def joined(x: Tensor, extra: Tensor | None) -> Tensor:
    """x (N, D) with `extra` (N, K) beside it: (N, D + K)."""
    return x if extra is None else torch.cat([x, extra.to(x.dtype)], dim=1)


def packed(x: Tensor, m: int) -> Tensor:
    """Packs of m examples, side by side along dim 1: (N, C, …) → (⌈N/m⌉, m·C, …).

    The last pack is filled up from the first examples. What a discriminator of packs sees: Lin et
    al. 2018, arXiv:1712.04086, section 3.
    """
    if m == 1:
        return x
    missing = -len(x) % m
    if missing:
        x = torch.cat([x] * (1 + -(-missing // len(x))))[: len(x) + missing]
    packs: Tensor = x.unflatten(0, (-1, m)).flatten(1, 2)
    return packs


def pack_heads(n: int, m: int, device: torch.device) -> Tensor:
    """Rows (n·m,) of n examples whose n packs of m are headed by each example in turn.

    The others of a pack are as far from its head, and from each other, as n allows.
    """
    apart = max(1, n // m) * torch.arange(m, device=device)
    return ((torch.arange(n, device=device)[:, None] + apart) % n).flatten()


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


class Range(nn.Module):
    """x = centre + scale·u: between the data's range and one that networks work well in.

    Images in [0, 1] are u = 2x − 1 in [−1, 1], the range of tanh. Points are centred and divided
    by one scalar, the root mean square of their coordinates about the centre, so that Euclidean
    distances keep their proportions; `fit` measures both.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, kind: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        images = kind == "image"
        self.register_buffer("centre", torch.tensor(0.5) if images else torch.zeros(shape))
        self.register_buffer("scale", torch.tensor(0.5 if images else 1.0))

    @torch.no_grad()
    def fit(self, points: Tensor) -> None:
        """Measure centre and scale on points (N, D)."""
        self.centre.copy_(points.mean(0))
        spread = (points - points.mean(0)).square().mean().sqrt()
        self.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def inward(self, x: Tensor) -> Tensor:
        """u = (x − centre) / scale."""
        return (x - self.centre) / self.scale

    def outward(self, u: Tensor) -> Tensor:
        """x = centre + scale·u."""
        return self.centre + self.scale * u
