"""The deep convolutional GAN (Radford et al. 2016): the game of Goodfellow et al. on convolutions.

The game::

    discriminator   minimise  −E log D(x) − E log(1 − D(G(z)))
    generator       minimise  −E log D(G(z))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gentool.model import Adam, Batch, Model, Objective, Player, Step, conditioned
from gentool.nn import (
    ADVICE,
    at_least_fp32,
    augmented,
    pack_heads,
    saturation,
    zero_centred_penalty,
)
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig
from gentool_dcgan.networks import networks
from gentool_dcgan.objectives import discriminator_loss, generator_loss, standing


class DCGAN(Model):
    """A discriminator who tells images from forgeries, and a generator who forges."""

    def __init__(self, config: DCGANConfig, data: DataSpec) -> None:
        """Raises ValueError where config and data do not fit together."""
        super().__init__()
        self.config, self.data = config, data
        self.latent_shape, self.latent_prior = (config.latent_dim,), config.noise
        self.classes, self.condition = conditioned(config.conditional, config.condition, data)
        self.generator, self.discriminator = networks(config, data.shape, self.told)
        self.remedies = {
            "collapse": "--pack 2, --spectral-norm, or --objective relativistic --r1 1 --r2 1",
            "memorised": f"more images, --flip, a smaller --width or {ADVICE}",
        }
        if not config.augment:
            self.remedies["few"] = ADVICE

    def players(self) -> Sequence[Player]:
        c = self.config
        one, other = (Adam(lr or c.lr, betas=c.betas) for lr in (c.lr_d, c.lr_g))
        steps = c.d_steps or (5 if c.residual else 1)
        return [
            Player("discriminator", self.discriminator, self.discriminator_objective, one, steps),
            Player("generator", self.generator, self.generator_objective, other, c.g_steps),
        ]

    def discriminator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(x) − E log(1 − D(G(z))), with D = sigmoid(logit), or as --objective says."""
        c = self.config
        with torch.no_grad():
            fake, x = self.fake(batch, step), 2 * batch.x - 1
        x, fake = x.requires_grad_() if c.r1 else x, fake.requires_grad_() if c.r2 else fake
        # Real and generated images go through apart: batch norm must not mix them.
        real = self.judged(x, batch, step, "real")
        forged = self.judged(fake, batch, step, "fake")
        loss = discriminator_loss(c.objective, real, forged)
        scalars = standing(c.objective, real, forged)
        for name, weight, logits, u in (("r1", c.r1, real, x), ("r2", c.r2, forged, fake)):
            if weight:
                scalars[name] = zero_centred_penalty(logits, u)
                loss = loss + weight / 2 * scalars[name]
        return Objective(loss, scalars)

    def generator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(G(z)), or as --objective says."""
        forged, real = self.judged(self.fake(batch, step), batch, step, "fake"), None
        if self.config.objective == "relativistic":
            real = self.judged(2 * batch.x - 1, batch, step, "real")
        return Objective(generator_loss(self.config.objective, forged, real))

    def judged(self, u: Tensor, batch: Batch, step: Step, name: str) -> Tensor:
        """Logits of D, of what --augment makes of the images u."""
        u = augmented(u, self.config.augment, step.noise, name)
        return at_least_fp32(self.discriminator(u, self.given(batch)))

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
