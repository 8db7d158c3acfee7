"""The Wasserstein GAN (Arjovsky et al. 2017; Gulrajani et al. 2017), with the paper's names.

The game::

    critic      maximise  E f(x) − E f(G(z)),  f 1-Lipschitz
    generator   minimise  −E f(G(z))
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gentool.model import (
    Adam,
    Batch,
    Model,
    Objective,
    OptimizerSpec,
    Player,
    RMSprop,
    Step,
    conditioned,
)
from gentool.nn import (
    ADVICE,
    ConvDiscriminator,
    ConvGenerator,
    Range,
    ResDiscriminator,
    ResGenerator,
    at_least_fp32,
    augmented,
)
from gentool.noise import Noise
from gentool.scoring import ScoreView
from gentool.spec import DataSpec
from gentool.torch_internals import clamp_
from gentool_wgan import WGANConfig
from gentool_wgan.networks import MLPCritic, MLPGenerator
from gentool_wgan.objectives import generator_loss, gradient_penalty, wasserstein

LONG = 100
"""Critic updates in a long round."""


class WGAN(Model):
    """A critic who measures a distance, and a generator who shortens it."""

    def __init__(self, config: WGANConfig, data: DataSpec) -> None:
        """Raises ValueError where config and data do not fit together."""
        super().__init__()
        images = data.kind == "image"
        if config.net in ("conv", "resnet") and not images:
            raise ValueError(f"--net {config.net} is for images; for points use --net mlp")
        self.config, self.data = config, data
        self.latent_shape, self.latent_prior = (config.latent_dim,), config.noise
        self.classes, self.condition = conditioned(config.conditional, config.condition, data)
        self.range = Range(data.kind, data.shape)
        # 10 as in the paper; 0.1 as in its published toy code: narrow modes far apart need steep
        # walls between them.
        self.penalty = config.penalty or (10.0 if images else 0.1)
        self.generator: nn.Module
        self.critic: nn.Module
        if config.net == "resnet":
            self.generator = ResGenerator(data.shape, config.latent_dim, self.told, config.width)
            self.critic = ResDiscriminator(data.shape, self.told, config.width)
        elif images and config.net != "mlp":
            # The published clipping code normalises in the critic; a penalty on each example's
            # own gradient forbids it (Gulrajani et al., section 4).
            norm = config.lipschitz == "clip"
            self.generator = ConvGenerator(
                data.shape, config.latent_dim, self.told, config.width, last_bias=True
            )
            self.critic = ConvDiscriminator(
                data.shape, self.told, config.width, batch_norm=norm, bias=True
            )
        else:
            self.generator = MLPGenerator(
                data.shape, config.latent_dim, self.told, config.hidden, bounded=images
            )
            self.critic = MLPCritic(data.size, self.told, config.hidden)
        if config.lipschitz == "spectral":
            for layer in self.critic.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    spectral_norm(layer)

        self.remedies = {
            "collapse": "--lipschitz gp, more --critic-steps or a lower --lr",
            "memorised": f"more images, --flip, a smaller --width or {ADVICE}",
        }
        if config.augment and not images:
            raise ValueError("--augment changes images, and this data is points; leave it out")
        if not config.augment:
            self.remedies["few"] = ADVICE

    def players(self) -> Sequence[Player]:
        clipped = self.config.lipschitz == "clip"
        return [
            Player(
                "critic",
                self.critic,
                self.critic_objective,
                self.optimizer(),
                steps=self.config.critic_steps,
                after_step=self.clip_weights if clipped else None,
                steps_of_round=self.steps_of_round if self.config.long_rounds else None,
            ),
            Player("generator", self.generator, self.generator_objective, self.optimizer()),
        ]

    def steps_of_round(self, number: int) -> int:
        """100 where the critic has to catch up, as in the published code of the clipping paper."""
        return LONG if number < 25 or number % 500 == 0 else self.config.critic_steps

    def optimizer(self) -> OptimizerSpec:
        """RMSprop for clipping, Adam for the rest, with the papers' learning rates."""
        c = self.config
        clipped = c.lipschitz == "clip"
        if c.optimizer == "rmsprop" or (c.optimizer == "auto" and clipped):
            return RMSprop(c.lr or 5e-5)
        usual = 2e-4 if c.net == "resnet" else 1e-4
        return Adam(c.lr or usual, betas=(c.beta1, c.beta2))

    def prepare(self, x: Tensor) -> None:
        """Measure where points lie; the range of images is known."""
        if self.data.kind == "points":
            self.range.fit(x)

    def critic_objective(self, batch: Batch, step: Step) -> Objective:
        """L = E f(G(z)) − E f(x) + λ·E (‖∇f(x̂)‖ − 1)², the last term with --lipschitz gp."""
        real = augmented(self.range.inward(batch.x), self.config.augment, step.noise, "real")
        with torch.no_grad():
            fake = augmented(self.fake(batch, step), self.config.augment, step.noise, "fake")

        def f(u: Tensor) -> Tensor:
            values: Tensor = self.critic(u, self.given(batch))
            return values

        distance = wasserstein(f(real), f(fake))
        loss, scalars = -distance, {"wasserstein": distance}
        if self.config.lipschitz == "gp":
            shape = (len(real), *[1] * (real.dim() - 1))
            penalty = gradient_penalty(f, real, fake, step.noise.uniform("epsilon", shape))
            loss = loss + self.penalty * penalty
            scalars["gradient_penalty"] = penalty
        return Objective(loss, scalars)

    def generator_objective(self, batch: Batch, step: Step) -> Objective:
        """−E f(G(z))."""
        fake = augmented(self.fake(batch, step), self.config.augment, step.noise, "fake")
        return Objective(generator_loss(self.critic(fake, self.given(batch))))

    def clip_weights(self) -> None:
        """w ← clip(w, −c, c) for every weight of the critic (Arjovsky et al., algorithm 1)."""
        c = self.config.clip
        clamp_(list(self.critic.parameters()), -c, c)

    def fake(self, batch: Batch, step: Step) -> Tensor:
        """As many examples from the generator as the batch has, of the same labels."""
        z = self.prior(len(batch.x), step.noise).to(batch.x.dtype)
        u: Tensor = self.generator(z, self.given(batch))
        return u

    def evaluate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The same estimate on data that the critic has not seen: a gap means it overfits."""
        real = self.range.inward(batch.x)
        values = (self.critic(u, self.given(batch)) for u in (real, self.fake(batch, step)))
        return {"wasserstein": wasserstein(*values)}

    def score(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """f(x), (N,); only differences mean anything."""
        return at_least_fp32(self.critic(self.range.inward(x), labels))

    def score_view(self) -> ScoreView:
        """f(x) beside its mean over the data, in pictures. The penalty aims at slopes of 1 in the
        networks' units; for the other bounds, nothing says how steep f is."""
        slope = 1 / float(self.range.scale) if self.config.lipschitz == "gp" else None
        return ScoreView("f(x) − mean f(data)", centred=True, slope=slope)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return self.range.outward(at_least_fp32(self.generator(z, labels)))
