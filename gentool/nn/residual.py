"""The ResNets of SNGAN and of WGAN-GP, for any image of at least 8×8 pixels.

Miyato et al. 2018, arXiv:1802.05957, appendix B.4, after Gulrajani et al. 2017, arXiv:1704.00028,
appendix F. At width w = 64 they have the published channels:

    32×32   G 256, 256, 256, 256 from 4×4          D 128 halving, 128 halving, 128, 128
    48×48   G 512, 256, 128, 64 from 6×6           D 64, 128, 256, 512 halving, 1024
    64×64   G 1024, 512, 256, 128, 64 from 4×4     D 64, 128, 256, 512, 1024 halving

the last as in Mimicry (Lee & Town 2020, arXiv:2005.02494). Smaller and larger images go by the
same rule: below 48 pixels the channels stay the same, from there on they double.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.nn.labels import joined, one_hot
from gentool.nn.layers import FromVector, halvings
from gentool.nn.packs import packed

LARGE = 48
"""The shorter side from which on channels double with every halving."""

DEPTH = 5
"""Blocks of a discriminator of large images, at least; beyond, channels double no more."""


class ResGenerator(nn.Module):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1): blocks that double, then tanh."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        sizes = halvings(*shape[1:])
        ups = len(sizes) - 1
        channels = [4 * width] * (ups + 1)
        if min(shape[1:]) >= LARGE:
            channels = [width * 2 ** min(i, DEPTH - 1) for i in range(ups, -1, -1)]
        self.first = FromVector(latent_dim + classes, channels[0], sizes[-1])
        self.body = nn.Sequential(
            *(
                UpBlock(a, b, size)
                for (a, b), size in zip(pairwise(channels), sizes[-2::-1], strict=True)
            ),
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(),
            conv3(channels[-1], shape[0], 1.0),
            nn.Tanh(),
        )
        nn.init.xavier_uniform_(self.first.weight.flatten(1))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.body(self.first(joined(z, one_hot(labels, self.classes, z))))
        return u


class ResDiscriminator(nn.Module):
    """u (N, C, H, W) → one number an image, (N,), or (⌈N/m⌉,) of packs of m.

    Blocks that halve, ReLU, the sum over all places, a linear layer. No batch norm; spectral norm
    or a penalty is the model's own. With classes a(h) + b_y(h), the projection of Miyato & Koyama
    2018; each of a pack's m places has a b of its own.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, *, pack: int = 1) -> None:
        super().__init__()
        self.classes, self.pack = classes, pack
        downs = len(halvings(*shape[1:]))  # once more than the generator doubles
        channels, halving = [2 * width] * 4, [True, True, False, False]
        if min(shape[1:]) >= LARGE:
            blocks = max(downs, DEPTH)
            channels = [width * 2 ** min(i, DEPTH - 1) for i in range(blocks)]
            halving = [i < downs for i in range(blocks)]
        first, *rest = zip(channels, halving, strict=True)
        body: list[nn.Module] = [FirstBlock(pack * shape[0], first[0])]
        before = first[0]
        for after, halved in rest:
            body.append(DownBlock(before, after, halved))
            before = after
        self.body = nn.Sequential(*body, nn.ReLU())
        self.out = nn.Linear(before, 1 + pack * classes)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        h = self.body(packed(u, self.pack).contiguous(memory_format=torch.channels_last))
        values: Tensor = self.out(h.sum((2, 3)))
        chosen = one_hot(labels, self.classes, values)
        if chosen is None:
            return values[:, 0]
        return values[:, 0] + (values[:, 1:] * packed(chosen, self.pack)).sum(1)


class UpBlock(nn.Module):
    """Batch norm, ReLU, doubling, convolution; batch norm, ReLU, convolution; and a shortcut."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1, self.conv2 = conv3(inputs, outputs), conv3(outputs, outputs)
        self.shortcut = conv1(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x)), self.size))
        h = self.conv2(F.relu(self.norm2(h)))
        # A 1×1 convolution and a doubling may change places, and this way round it is cheaper.
        u: Tensor = h + F.interpolate(self.shortcut(x), self.size)
        return u


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, and the mean of 2×2 pixels where it halves."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.conv1, self.conv2 = conv3(inputs, inputs), conv3(inputs, outputs)
        learned = halves or inputs != outputs
        self.shortcut = conv1(inputs, outputs) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)))) + self.shortcut(x)
        return F.avg_pool2d(h, 2) if self.halves else h


class FirstBlock(nn.Module):
    """The first one, on the image itself: no ReLU before it, and it halves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(inputs, outputs), conv3(outputs, outputs)
        self.shortcut = conv1(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = F.avg_pool2d(self.conv2(F.relu(self.conv1(x))), 2)
        u: Tensor = h + self.shortcut(F.avg_pool2d(x, 2))
        return u


def conv3(inputs: int, outputs: int, gain: float = math.sqrt(2)) -> nn.Conv2d:
    """A 3×3 convolution with weights by Glorot & Bengio (2010), as published."""
    return _initialised(nn.Conv2d(inputs, outputs, 3, padding=1), gain)


def conv1(inputs: int, outputs: int) -> nn.Conv2d:
    """The 1×1 convolution of a shortcut."""
    return _initialised(nn.Conv2d(inputs, outputs, 1), 1.0)


def _initialised(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
