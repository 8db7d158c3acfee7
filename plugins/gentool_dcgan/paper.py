"""The networks of the DCGAN authors' own code, as PacGAN and many others took them over.

Four layers of 5×5 kernels with stride 2 at any size of image, which halve it rounding up: 64 → 32 →
16 → 8 → 4 and 28 → 14 → 7 → 4 → 2. Every layer has a bias. Channels are w, 2w, 4w, 8w; PacGAN's
Stacked MNIST (Lin et al. 2018, section 4.2) has w = 64, the DCGAN paper 128.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.nn import joined, one_hot, packed

KERNEL, LAYERS = 5, 4


class PaperGenerator(nn.Module):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1)."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int, classes: int, width: int) -> None:
        super().__init__()
        self.classes, self.sizes = classes, halved(*shape[1:])
        height, breadth = self.sizes[-1]
        channels = [width * 2**i for i in range(LAYERS - 1, -1, -1)]
        self.start = (channels[0], height, breadth)
        self.first = nn.Linear(latent_dim + classes, channels[0] * height * breadth)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels)
        pairs = pairwise([*channels, shape[0]])
        self.layers = nn.ModuleList(nn.ConvTranspose2d(a, b, KERNEL, 2) for a, b in pairs)
        initialize_(self)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        h = self.first(joined(z, one_hot(labels, self.classes, z))).unflatten(1, self.start)
        for norm, layer, size in zip(self.norms, self.layers, self.sizes[-2::-1], strict=True):
            h = doubled(F.relu(norm(h)), layer, size)
        return torch.tanh(h)


class PaperDiscriminator(nn.Module):
    """u (N, C, H, W) → logits (N,), or (⌈N/m⌉,) of packs of m; classes as `ConvDiscriminator`."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, pack: int, *, batch_norm: bool
    ) -> None:
        super().__init__()
        self.classes, self.pack = classes, pack
        channels = [pack * shape[0], *(width * 2**i for i in range(LAYERS))]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, KERNEL, 2) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(c) if batch_norm and i else nn.Identity()
            for i, c in enumerate(channels[1:])
        )
        height, breadth = halved(*shape[1:])[-1]
        self.out = nn.Linear(channels[-1] * height * breadth, 1 + pack * classes)
        initialize_(self)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        h = packed(u, self.pack)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            left, top = (before(side) for side in (h.shape[3], h.shape[2]))
            h = layer(F.pad(h, (left, 2, top, 2)))
            h = F.leaky_relu(norm(h), 0.2)
        values: Tensor = self.out(h.flatten(1))
        chosen = one_hot(labels, self.classes, values)
        if chosen is None:
            return values[:, 0]
        return values[:, 0] + (values[:, 1:] * packed(chosen, self.pack)).sum(1)


def halved(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes from the image's own to that after four halvings, each rounded up."""
    sizes = [(height, width)]
    for _ in range(LAYERS):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def before(side: int) -> int:
    """Zeros before a row of `side` pixels, with two behind it, so that stride 2 gives ⌈side/2⌉."""
    return 1 + side % 2


def doubled(h: Tensor, layer: nn.Module, size: tuple[int, int]) -> Tensor:
    """The transposed convolution of the discriminator's: its borders are cut off again."""
    top, left = (before(side) for side in size)
    u: Tensor = layer(h)
    return u[:, :, top : top + size[0], left : left + size[1]]


def initialize_(network: nn.Module) -> None:
    """Weights N(0, 0.02), those of convolutions cut off at two deviations; biases 0; in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, 0.0, 0.02, -0.04, 0.04)
        elif isinstance(layer, nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
