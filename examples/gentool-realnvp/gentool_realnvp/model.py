"""RealNVP (Dinh et al. 2017): an invertible map f between data and N(0, I).

likelihood  log p(x) = log N(f(x); 0, I) + log |det ∂f/∂x|
coupling    y = m⊙u + (1 − m)⊙(u⊙exp(s(m⊙u)) + t(m⊙u)),   log |det| = Σ (1 − m)⊙s
minimise    −log p(x)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.model import Adam, Batch, Model, Objective, Player, Step
from gentool.nn import Range, at_least_fp32
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_realnvp import RealNVPConfig

ALPHA = 0.05
"""Images are squeezed into [α, 1 − α] before the logit (section 4.1)."""


class Coupling(nn.Module):
    """Moves every other dimension, by what it reads from the rest. The identity at first."""

    mask: Tensor

    def __init__(self, size: int, hidden: int, odd: bool) -> None:
        super().__init__()
        self.register_buffer("mask", ((torch.arange(size) % 2) == int(odd)).float())
        self.body = nn.Sequential(
            nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.out = nn.Linear(hidden, 2 * size)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def scale_and_shift(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """s in (−2, 2) and t, zero where the mask keeps u; the same for u and for its image."""
        s, t = at_least_fp32(self.out(self.body(u * self.mask))).chunk(2, dim=1)
        return (1 - self.mask) * 2 * torch.tanh(s / 2), (1 - self.mask) * t

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) → (N, D) and log |det|, (N,)."""
        s, t = self.scale_and_shift(u)
        return u * s.exp() + t, s.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self.scale_and_shift(y)
        return (y - t) * (-s).exp()


class RealNVP(Model):
    """A game of one player, who maximises the likelihood."""

    support = "continuous"

    def __init__(self, config: RealNVPConfig, data: DataSpec) -> None:
        """Raises ValueError for data of one dimension, which has nothing to couple."""
        super().__init__()
        if data.size < 2:
            raise ValueError("realnvp couples dimensions, so the data needs at least two")
        self.config, self.data = config, data
        self.latent_shape = (data.size,)
        self.range = Range(data.kind, data.shape)
        self.flow = nn.ModuleList(
            Coupling(data.size, config.hidden, odd=bool(i % 2)) for i in range(config.couplings)
        )

    def players(self) -> Sequence[Player]:
        return [Player("flow", self.flow, self.objective, Adam(self.config.lr))]

    def prepare(self, x: Tensor) -> None:
        """Measure where points lie; the range of images is known."""
        if self.data.kind == "points":
            self.range.fit(x)

    def objective(self, batch: Batch, step: Step) -> Objective:
        nll = -self.log_prob(self.presented(batch, step.noise)[0]).mean()
        return Objective(nll, {"nll": nll})

    def evaluate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        nll = -self.log_prob(self.presented(batch, step.noise)[0]).mean()
        return {"loss": nll, "nll": nll}

    def presented(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """Pixels t dequantised, (t + u)/256 with u ~ U[0, 1); anything else as it is."""
        x = batch.x
        if batch.pixels is not None:
            x = (batch.pixels + noise.uniform("dequantise", tuple(x.shape))) / 256
        return x, x

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (N,); of images as a density over [0, 1]."""
        y, log_det = self.to_real(x.flatten(1))
        for coupling in self.flow:
            y, more = coupling(y)
            log_det = log_det + more
        return log_det - 0.5 * (y.square() + math.log(2 * math.pi)).sum(1)

    def to_real(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data onto the whole real line: a logit for images, scaling for points; and log |det|."""
        if self.data.kind == "image":
            squeezed = ALPHA + (1 - 2 * ALPHA) * x
            y = torch.logit(squeezed)
            # d logit(p)/dp = 1/(p(1 − p)), and −log p(1 − p) = softplus(y) + softplus(−y).
            log_det = F.softplus(y) + F.softplus(-y) + math.log(1 - 2 * ALPHA)
            return y, log_det.sum(1)
        return self.range.inward(x), -x.shape[1] * self.range.scale.log().expand(len(x))

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """z = f(x), which `sample` inverts exactly."""
        z, _ = self.to_real(x.flatten(1))
        for coupling in self.flow:
            z, _ = coupling(z)
        return z

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        for coupling in reversed(self.flow):
            z = coupling.inverse(z)
        if self.data.kind == "image":
            x = (torch.sigmoid(z) - ALPHA) / (1 - 2 * ALPHA)
            return x.clamp(0, 1).unflatten(1, self.data.shape)
        return self.range.outward(z)

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        """log p(x) is exact, so every one of the k weights is the same: (k, N)."""
        return self.log_prob(self.presented(batch, noise)[0]).expand(k, -1)
