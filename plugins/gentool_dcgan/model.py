"""The deep convolutional GAN (Radford et al. 2016): the game of Goodfellow et al. on convolutions.

The game::

    discriminator   minimise  −E log D(x) − E log(1 − D(G(z)))
    generator       minimise  −E log D(G(z))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gentool.model import Adam, Batch, Model, Objective, Player, Step, conditioned
from gentool.nn import at_least_fp32, pack_heads, saturation
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig
from gentool_dcgan.networks import Discriminator, Generator


class DCGAN(Model):
    """A discriminator who tells images from forgeries, and a generator who forges."""

    def __init__(self, config: DCGANConfig, data: DataSpec) -> None:
        """Raises ValueError where config and data do not fit together."""
        super().__init__()
        self.config, self.data = config, data
        self.latent_shape, self.latent_prior = (config.latent_dim,), config.noise
        self.classes, self.condition = conditioned(config.conditional, config.condition, data)
        self.generator = Generator(data.shape, config.latent_dim, self.told, config.width)
        self.discriminator = Discriminator(
            data.shape, self.told, config.width, config.spectral_norm, config.pack
        )

        self.remedies = {
            "collapse": "--pack 2, --spectral-norm or a lower --lr",
            "memorised": "more images, --flip or a smaller --width",
        }

    def players(self) -> Sequence[Player]:
        adam = Adam(self.config.lr, betas=(self.config.beta1, self.config.beta2))
        return [
            Player("discriminator", self.discriminator, self.discriminator_objective, adam),
            Player("generator", self.generator, self.generator_objective, adam),
        ]

    def discriminator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(x) − E log(1 − D(G(z))), with D = sigmoid(logit)."""
        with torch.no_grad():
            fake = self.fake(batch, step)
        # Real and generated images go through apart: batch norm must not mix them.
        real = at_least_fp32(self.discriminator(2 * batch.x - 1, self.given(batch)))
        forged = at_least_fp32(self.discriminator(fake, self.given(batch)))
        loss = softplus(-real).mean() + softplus(forged).mean()
        scalars = {
            "d_real": torch.sigmoid(real).mean(),
            "d_fake": torch.sigmoid(forged).mean(),
            "d_accuracy": torch.cat([real > 0, forged < 0]).float().mean(),
        }
        return Objective(loss, scalars)

    def generator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(G(z))."""
        logits = at_least_fp32(self.discriminator(self.fake(batch, step), self.given(batch)))
        return Objective(softplus(-logits).mean())

    def warnings(self, scalars: Mapping[str, float]) -> list[str]:
        """Whether the discriminator is so sure that the generator gets no useful gradient."""
        return saturation(scalars, "--spectral-norm or a lower --lr")

    def fake(self, batch: Batch, step: Step) -> Tensor:
        """As many images in (−1, 1) as the batch has, of the same labels."""
        z = self.prior(len(batch.x), step.noise).to(batch.x.dtype)
        u: Tensor = self.generator(z, self.given(batch))
        return u

    def score(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of D, (N,). With --pack m, that of the pack which x_i heads, filled up from x."""
        rows = pack_heads(len(x), self.config.pack, x.device)
        logits = self.discriminator(2 * x[rows] - 1, None if labels is None else labels[rows])
        return at_least_fp32(logits)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return (at_least_fp32(self.generator(z, labels)) + 1) / 2
