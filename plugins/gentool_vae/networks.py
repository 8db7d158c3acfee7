"""Encoders and decoders, fully connected and convolutional, for any shape of data."""

from __future__ import annotations

import math

from torch import Tensor, nn

from gentool.nn import joined

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}

SMALLEST = 4
"""A convolutional encoder halves the image until a side would fall below this."""


class MLPEncoder(nn.Module):
    """x (N, …) → μ, log σ² of q(z|x), each (N, latent_dim)."""

    def __init__(
        self, size: int, classes: int, hidden: tuple[int, ...], latent_dim: int, activation: str
    ) -> None:
        super().__init__()
        self.body, width = _mlp(size + classes, hidden, activation)
        self.mu = nn.Linear(width, latent_dim)
        self.logvar = nn.Linear(width, latent_dim)

    def forward(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        h = self.body(joined(x.flatten(1), label))
        return self.mu(h), self.logvar(h)


class MLPDecoder(nn.Module):
    """z (N, latent_dim) → parameters of p(x|z), (N, *shape)."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        hidden: tuple[int, ...],
        latent_dim: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.body, width = _mlp(latent_dim + classes, hidden[::-1], activation)
        self.out = nn.Linear(width, math.prod(shape))

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        params: Tensor = self.out(self.body(joined(z, label))).unflatten(1, self.shape)
        return params


class ConvEncoder(nn.Module):
    """Strided convolutions, each halving the image (rounding up) and widening it."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, latent_dim: int, activation: str
    ) -> None:
        super().__init__()
        sizes, channels = pyramid(shape, width)
        layers: list[nn.Module] = []
        previous = shape[0] + classes
        for c in channels:
            layers += [nn.Conv2d(previous, c, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
            previous = c
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = previous * math.prod(sizes[-1])
        self.mu = nn.Linear(features, latent_dim)
        self.logvar = nn.Linear(features, latent_dim)

    def forward(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        if label is not None:  # one constant plane a class
            label = label[:, :, None, None].expand(-1, -1, *x.shape[2:])
        h = self.body(joined(x, label))
        return self.mu(h), self.logvar(h)


class ConvDecoder(nn.Module):
    """The encoder's mirror: fractionally-strided convolutions back to the exact image size."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, latent_dim: int, activation: str
    ) -> None:
        super().__init__()
        sizes, channels = pyramid(shape, width)
        self.start = (channels[-1], *sizes[-1])
        self.inp = nn.Linear(latent_dim + classes, math.prod(self.start))
        act = ACTIVATIONS[activation]
        layers: list[nn.Module] = [act()]
        targets = [*channels[-2::-1], width]
        for i, c in enumerate(targets):
            small, large = sizes[-1 - i], sizes[-2 - i]
            # A stride-2 transposed convolution of n pixels gives 2n − 1, or 2n with padding.
            padding = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
            previous = channels[-1 - i]
            layers += [
                nn.ConvTranspose2d(previous, c, 3, stride=2, padding=1, output_padding=padding),
                act(),
            ]
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        h = self.inp(joined(z, label)).unflatten(1, self.start)
        params: Tensor = self.out(self.body(h))
        return params


def pyramid(shape: tuple[int, ...], width: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Image sizes from (H, W) down, halved until a side would be smaller than `SMALLEST`.

    Returns:
        sizes: one more than there are layers; channels: of each layer, doubling up to 8·width.
    """
    h, w = shape[1], shape[2]
    sizes = [(h, w)]
    while min(-(-h // 2), -(-w // 2)) >= SMALLEST or len(sizes) == 1:
        h, w = -(-h // 2), -(-w // 2)
        sizes.append((h, w))
    return sizes, [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]


def _mlp(size: int, hidden: tuple[int, ...], activation: str) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(size, width), ACTIVATIONS[activation]()]
        size = width
    return nn.Sequential(*layers), size


def glorot_(module: nn.Module) -> None:
    """Glorot & Bengio (2010) uniform weights and zero biases, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
