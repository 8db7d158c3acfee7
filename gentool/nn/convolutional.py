"""A generator and a discriminator of strided convolutions, for any image of at least 8×8 pixels.

At 64×64 and width w they have the shape of Radford et al. 2016: four halvings by 4×4 kernels, and
w, 2w, 4w, 8w channels. Guidelines, norms and initial weights are the models' own.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gentool.nn.labels import joined, one_hot
from gentool.nn.layers import FromVector, ToVector, halvings
from gentool.nn.packs import packed

# (kernel, stride, padding): halves an image, or doubles it when transposed.
STRIDED = (4, 2, 1)


class ConvGenerator(nn.Module):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1), by fractionally-strided convolutions.

    Batch norm and ReLU after every layer but the last, which ends in tanh.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        classes: int,
        width: int,
        last_bias: bool = False,
    ) -> None:
        """`last_bias`: whether the layer before tanh, which no batch norm follows, has a bias."""
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
            bias = last_bias and i == 0
            layers.append(
                nn.ConvTranspose2d(
                    channels[i], outputs[i], *STRIDED, output_padding=extra, bias=bias
                )
            )
            layers += [nn.BatchNorm2d(outputs[i]), nn.ReLU()] if i else [nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.body(self.first(joined(z, one_hot(labels, self.classes, z))))
        return u


class ConvDiscriminator(nn.Module):
    """u (N, C, H, W) → one number an image, (N,), or (⌈N/m⌉,) of packs of m.

    LeakyReLU after every layer but the last; batch norm too, if asked for, but not on the image
    itself. With classes the result is a(h) + b_y(h): the projection of Miyato & Koyama (2018)
    onto all features h of the last layer. A pack is an image of m·C channels, and each of its m
    places has a b of its own.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        width: int,
        *,
        batch_norm: bool,
        bias: bool,
        pack: int = 1,
    ) -> None:
        """`bias`: of every layer that no batch norm follows."""
        super().__init__()
        self.classes, self.pack = classes, pack
        sizes = halvings(*shape[1:])
        channels = channels_of(sizes, width)
        layers: list[nn.Module] = [
            nn.Conv2d(pack * shape[0], channels[0], *STRIDED, bias=bias),
            nn.LeakyReLU(0.2),
        ]
        for less, more in pairwise(channels):
            layers.append(nn.Conv2d(less, more, *STRIDED, bias=bias and not batch_norm))
            layers += [nn.BatchNorm2d(more)] if batch_norm else []
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers)
        self.out = ToVector(channels[-1], 1 + pack * classes, sizes[-1], bias=bias)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        u = packed(u, self.pack)
        h = self.body(u.contiguous(memory_format=torch.channels_last))
        values: Tensor = self.out(h)
        chosen = one_hot(labels, self.classes, values)
        if chosen is None:
            return values[:, 0]
        return values[:, 0] + (values[:, 1:] * packed(chosen, self.pack)).sum(1)


def channels_of(sizes: list[tuple[int, int]], width: int) -> list[int]:
    """Channels after each halving: `width`, doubled every time, up to 8·width."""
    return [width * 2 ** min(i, 3) for i in range(len(sizes) - 1)]
