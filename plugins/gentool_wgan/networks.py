"""Critics and generators: f without a sigmoid, and without batch norm under a gradient penalty."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from gentool.nn import FromVector, ToVector, halvings, joined, mlp, one_hot

LeakyReLU = partial(nn.LeakyReLU, 0.2)


class MLPGenerator(nn.Module):
    """z (N, latent_dim) → u (N, *shape); images end in tanh."""

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        classes: int,
        hidden: tuple[int, ...],
        bounded: bool,
    ) -> None:
        super().__init__()
        self.classes = classes
        size = torch.Size(shape).numel()
        self.body = mlp(latent_dim + classes, hidden, size, nn.ReLU)
        self.end = nn.Sequential(nn.Unflatten(1, shape), nn.Tanh() if bounded else nn.Identity())

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.end(self.body(joined(z, one_hot(labels, self.classes, z))))
        return u


class MLPCritic(nn.Module):
    """u (N, …) → f(u), (N,)."""

    def __init__(self, size: int, classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.body = mlp(size + classes, hidden, 1, LeakyReLU)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        flat = joined(u.flatten(1), one_hot(labels, self.classes, u))
        values: Tensor = self.body(flat).squeeze(1)
        return values


class ConvGenerator(nn.Module):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1), by fractionally-strided convolutions."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        sizes, channels = plan(shape, width)
        self.first = FromVector(latent_dim + classes, channels[-1], sizes[-1])
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[-1]), nn.ReLU()]
        for i in range(len(channels) - 1, 0, -1):
            layers += [
                doubling(channels[i], channels[i - 1], sizes[i + 1], sizes[i]),
                nn.BatchNorm2d(channels[i - 1]),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(
            *layers, doubling(channels[0], shape[0], sizes[1], sizes[0], bias=True), nn.Tanh()
        )

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.body(self.first(joined(z, one_hot(labels, self.classes, z))))
        return u


class ConvCritic(nn.Module):
    """u (N, C, H, W) → f(u), (N,), by strided convolutions.

    A conditional critic is f(u, y) = a(h) + b_y(h), the projection of Miyato & Koyama (2018) onto
    all features h of the last layer.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, norm: bool) -> None:
        """`norm`: batch norm after all but the first convolution."""
        super().__init__()
        sizes, channels = plan(shape, width)
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels[0], 4, 2, 1), LeakyReLU()]
        for less, more in pairwise(channels):
            layers.append(nn.Conv2d(less, more, 4, 2, 1, bias=not norm))
            layers += [nn.BatchNorm2d(more), LeakyReLU()] if norm else [LeakyReLU()]
        self.body = nn.Sequential(*layers)
        self.out = ToVector(channels[-1], 1 + classes, sizes[-1])

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        h = self.body(u.contiguous(memory_format=torch.channels_last))
        values: Tensor = self.out(h)
        chosen = one_hot(labels, values.shape[1] - 1, values)
        return values[:, 0] if chosen is None else values[:, 0] + (values[:, 1:] * chosen).sum(1)


def plan(shape: tuple[int, ...], width: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Image sizes from (H, W) down, and the channels of each halving: width, doubled up to 8×."""
    sizes = halvings(*shape[1:])
    return sizes, [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]


def doubling(
    inputs: int,
    outputs: int,
    small: tuple[int, int],
    large: tuple[int, int],
    bias: bool = False,
) -> nn.ConvTranspose2d:
    """A fractionally-strided convolution from n to 2n pixels, or 2n + 1 where the image asks."""
    extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=extra, bias=bias)
