"""The two networks of Radford et al. 2016, for any image of at least 8×8 pixels, or SNGAN's.

Their shape is that of `gentool.nn.convolutional`; here are the initial weights and the norms.
The ResNets are `gentool.nn.residual`'s.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gentool.nn import ConvDiscriminator, ConvGenerator, ResDiscriminator, ResGenerator
from gentool_dcgan import DCGANConfig
from gentool_dcgan.paper import PaperDiscriminator, PaperGenerator


def networks(config: DCGANConfig, shape: tuple[int, ...], told: int) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator that a config asks for; told K numbers of an example."""
    c = config
    penalised = c.r1 > 0 or c.r2 > 0
    generator: nn.Module
    discriminator: nn.Module
    if c.residual:
        generator = ResGenerator(shape, c.latent_dim, told, c.width)
        discriminator = ResDiscriminator(shape, told, c.width, pack=c.pack)
    elif c.net == "paper":
        generator = PaperGenerator(shape, c.latent_dim, told, c.width)
        discriminator = PaperDiscriminator(shape, told, c.width, c.pack, batch_norm=not penalised)
    else:
        generator = Generator(shape, c.latent_dim, told, c.width)
        # A penalty on each image's own gradient forbids to mix the images of a batch.
        discriminator = Discriminator(shape, told, c.width, c.pack, batch_norm=not penalised)
    if c.spectral_norm or (c.residual and not penalised):
        for layer in [*discriminator.modules()]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)
    return generator, discriminator


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
        pack: int,
        *,
        batch_norm: bool,
    ) -> None:
        super().__init__(shape, classes, width, batch_norm=batch_norm, bias=False, pack=pack)
        initialize_(self)
        if not batch_norm:
            scale_(self)


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
