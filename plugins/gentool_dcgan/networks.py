"""The two networks of Radford et al. 2016, for any image of at least 8×8 pixels.

At 64×64 they are the paper's: four halvings, 4×4 kernels, channels w, 2w, 4w, 8w.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gentool.nn import FromVector, ToVector, halvings, joined, one_hot, packed

# (kernel, stride, padding): halves an image, or doubles it when transposed.
STRIDED = (4, 2, 1)


class Generator(nn.Module):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1).

    Batch norm and ReLU after every layer but the last, which ends in tanh.
    """

    def __init__(self, shape: tuple[int, ...], latent_dim: int, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        sizes = halvings(*shape[1:])
        channels = channels_of(sizes, width)
        self.first = FromVector(latent_dim + classes, channels[-1], sizes[-1])
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[-1]), nn.ReLU()]
        outputs = [shape[0], *channels]
        for i in range(len(channels) - 1, -1, -1):
            small, large = sizes[i + 1], sizes[i]
            # Twice n pixels, and one more where the image is odd.
            extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
            layers.append(
                nn.ConvTranspose2d(
                    channels[i], outputs[i], *STRIDED, output_padding=extra, bias=False
                )
            )
            layers += [nn.BatchNorm2d(outputs[i]), nn.ReLU()] if i else [nn.Tanh()]
        self.body = nn.Sequential(*layers)
        initialize_(self)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.body(self.first(joined(z, one_hot(labels, self.classes, z))))
        return u


class Discriminator(nn.Module):
    """u (N, C, H, W) → logits (N,), or (⌈N/m⌉,) of packs of m.

    LeakyReLU after every layer but the last; batch norm too, but not on the image itself. With
    classes, the logit is a(h) + b_y(h): the projection of Miyato & Koyama (2018) onto all
    features h of the last layer. A pack is an image of m·C channels, and each of its m places
    has a b of its own.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, spectral: bool, pack: int
    ) -> None:
        super().__init__()
        self.classes, self.pack = classes, pack
        sizes = halvings(*shape[1:])
        channels = channels_of(sizes, width)
        layers: list[nn.Module] = [
            nn.Conv2d(pack * shape[0], channels[0], *STRIDED, bias=False),
            nn.LeakyReLU(0.2),
        ]
        for less, more in pairwise(channels):
            layers += [
                nn.Conv2d(less, more, *STRIDED, bias=False),
                nn.BatchNorm2d(more),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers)
        self.out = ToVector(channels[-1], 1 + pack * classes, sizes[-1], bias=False)
        initialize_(self)
        if spectral:
            for layer in [*self.body, self.out]:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        u = packed(u, self.pack)
        h = self.body(u.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.out(h)
        chosen = one_hot(labels, self.classes, logits)
        if chosen is None:
            return logits[:, 0]
        return logits[:, 0] + (logits[:, 1:] * packed(chosen, self.pack)).sum(1)


def channels_of(sizes: list[tuple[int, int]], width: int) -> list[int]:
    """Channels after each halving: `width`, doubled every time, up to 8·width."""
    return [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]


def initialize_(network: nn.Module) -> None:
    """Weights N(0, 0.02), batch-norm scales N(1, 0.02), shifts 0, in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
