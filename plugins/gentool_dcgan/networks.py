"""The two networks of Radford et al. 2016, for any image of at least 8×8 pixels.

Their shape is that of `gentool.nn.convolutional`; here are the initial weights and the norms.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gentool.nn import ConvDiscriminator, ConvGenerator


class Generator(ConvGenerator):
    """z (N, latent_dim) → u (N, C, H, W) in (−1, 1)."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int, classes: int, width: int) -> None:
        super().__init__(shape, latent_dim, classes, width)
        initialize_(self)


class Discriminator(ConvDiscriminator):
    """u (N, C, H, W) → logits (N,), or (⌈N/m⌉,) of packs of m."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        width: int,
        spectral: bool,
        pack: int,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(shape, classes, width, batch_norm=batch_norm, bias=False, pack=pack)
        initialize_(self)
        if not batch_norm:
            scale_(self)
        if spectral:
            for layer in [*self.body, self.out]:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)


def initialize_(network: nn.Module) -> None:
    """Weights N(0, 0.02), batch-norm scales N(1, 0.02), shifts 0, in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def scale_(network: nn.Module) -> None:
    """Weights that keep a signal's size where no batch norm does (He et al. 2015), in place."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, 0.2)
