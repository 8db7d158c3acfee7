"""The generative adversarial network (Goodfellow et al. 2014), with the paper's names.

    min_G max_D  E_x log D(x) + E_z log(1 − D(G(z)))

Both players are multi-layer perceptrons, on images and on points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from gentool.model import (
    SGD,
    Adam,
    Batch,
    Model,
    Objective,
    OptimizerSpec,
    Player,
    Step,
    conditioned,
)
from gentool.nn import (
    ADVICE,
    Range,
    at_least_fp32,
    augmented,
    joined,
    mlp,
    one_hot,
    pack_heads,
    packed,
    saturation,
    zero_centred_penalty,
)
from gentool.noise import Noise
from gentool.scoring import ScoreView
from gentool.spec import DataSpec
from gentool_gan import GANConfig
from gentool_gan.objectives import discriminator_loss, generator_loss, probability, standing


class GAN(Model):
    """A discriminator who tells data from forgeries, and a generator who forges."""

    def __init__(self, config: GANConfig, data: DataSpec) -> None:
        """Raises ValueError where config and data do not fit together."""
        super().__init__()
        self.config, self.data = config, data
        self.latent_shape, self.latent_prior = (config.latent_dim,), config.noise
        self.classes, self.condition = conditioned(config.conditional, config.condition, data)
        self.range = Range(data.kind, data.shape)
        self.generator = mlp(
            config.latent_dim + self.told,
            config.hidden,
            data.size,
            partial(nn.LeakyReLU, 0.2),
            batch_norm=config.batch_norm,
        )
        self.discriminator = mlp(
            (data.size + self.told) * config.pack,
            config.hidden[::-1],
            1,
            partial(nn.LeakyReLU, 0.2),
            config.dropout,
        )

        self.remedies = {
            "collapse": "--pack 4, or --objective relativistic --r1 1 --r2 1",
            "memorised": f"more images, --flip, --dropout 0.3 or {ADVICE}",
        }
        if config.augment and data.kind != "image":
            raise ValueError("--augment changes images, and this data is points; leave it out")
        if not config.augment:
            self.remedies["few"] = ADVICE

    def players(self) -> Sequence[Player]:
        c = self.config
        return [
            Player(
                "discriminator",
                self.discriminator,
                self.discriminator_objective,
                self.optimizer(self.config.lr_d),
                steps=c.d_steps,
            ),
            Player(
                "generator",
                self.generator,
                self.generator_objective,
                self.optimizer(self.config.lr_g),
                steps=c.g_steps,
            ),
        ]

    def optimizer(self, lr: float | None) -> OptimizerSpec:
        c = self.config
        if c.optimizer == "sgd":
            return SGD(lr or c.lr, momentum=c.momentum)
        return Adam(lr or c.lr, betas=(c.beta1, c.beta2))

    def prepare(self, x: Tensor) -> None:
        """Measure where points lie; the range of images is known."""
        if self.data.kind == "points":
            self.range.fit(x)

    def discriminator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(x) − E log(1 − D(G(z))), or what --objective says instead."""
        with torch.no_grad():
            fake = self.fake(batch, step)
        c, x = self.config, self.range.inward(batch.x)
        x, fake = x.requires_grad_() if c.r1 else x, fake.requires_grad_() if c.r2 else fake
        real = self.judged(x, batch, step, "real")
        forged = self.judged(fake, batch, step, "fake")
        loss = discriminator_loss(c.objective, real, forged, c.smooth_real, c.smooth_fake)
        scalars = standing(c.objective, real, forged)
        for name, weight, logits, u in (("r1", c.r1, real, x), ("r2", c.r2, forged, fake)):
            if weight:
                scalars[name] = zero_centred_penalty(logits, u)
                loss = loss + weight / 2 * scalars[name]
        return Objective(loss, scalars)

    def generator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E log D(G(z)), or what --objective says instead."""
        forged, real = self.judged(self.fake(batch, step), batch, step, "fake"), None
        if self.config.objective == "relativistic":
            real = self.judged(self.range.inward(batch.x), batch, step, "real")
        return Objective(generator_loss(self.config.objective, forged, real))

    def judged(self, u: Tensor, batch: Batch, step: Step, name: str) -> Tensor:
        """Logits of D, of what --augment makes of u."""
        u = augmented(u, self.config.augment, step.noise, name)
        return self.discriminate(u, self.given(batch))

    def evaluate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """How the game stands on data that the discriminator has not seen."""
        real, forged = self.logits(
            self.range.inward(batch.x), self.fake(batch, step), self.given(batch)
        )
        return standing(self.config.objective, real, forged)

    def logits(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.discriminate(real, labels), self.discriminate(fake, labels)

    def warnings(self, scalars: Mapping[str, float]) -> list[str]:
        """Whether the discriminator is so sure that the generator gets no useful gradient."""
        return saturation(scalars, "--smooth-real 0.1, --dropout 0.3 or a lower --lr")

    def fake(self, batch: Batch, step: Step) -> Tensor:
        """As many examples from the generator as the batch has, of the same labels."""
        z = self.prior(len(batch.x), step.noise).to(batch.x.dtype)
        return self.generate(z, self.given(batch))

    def generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """G(z) in the networks' range: (N, *shape); images within (−1, 1)."""
        h = self.generator(joined(z, one_hot(labels, self.told, z)))
        h = torch.tanh(h) if self.data.kind == "image" else h
        u: Tensor = h.unflatten(1, self.data.shape)
        return u

    def discriminate(self, u: Tensor, labels: Tensor | None) -> Tensor:
        """Logits of D: (N,), or (⌈N/m⌉,) of packs of m."""
        flat = joined(u.flatten(1), one_hot(labels, self.told, u))
        logits: Tensor = self.discriminator(packed(flat, self.config.pack)).squeeze(1)
        return logits

    def score(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,). With --pack m, that of the pack which x_i heads, filled up from x."""
        rows = pack_heads(len(x), self.config.pack, x.device)
        u = self.range.inward(x[rows])
        return at_least_fp32(self.discriminate(u, None if labels is None else labels[rows]))

    def score_view(self) -> ScoreView:
        """D(x), in pictures."""
        objective = self.config.objective
        return ScoreView("D(x)", partial(probability, objective), range=(0, 1), middle=0.5)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return self.range.outward(at_least_fp32(self.generate(z, labels)))
