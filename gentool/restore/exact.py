"""A model whose p(z|y) is known: the anchor that samplers and operators are held to.

    z ~ N(0, I),   x|z ~ N(W z + b, s² I),   y = A x + ε, ε ~ N(0, σ² I)

With G = A W and c = y − A b the posterior is N(m, Σ): Σ = (I + GᵀG/σ²)⁻¹, m = ΣGᵀc/σ². As
everywhere in `gentool.restore`, p(y|z) is N(A E[x|z], σ²), or the decoder's own N(·, s²) where A
only leaves values out and no noise is given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gentool.model import Model
from gentool.noise import Noise
from gentool.restore.measurement import Measurement
from gentool.restore.target import Target
from gentool.spec import DataSpec


class LinearGaussian(Model):
    """Probabilistic PCA (Tipping & Bishop 1999) with given weights; it has nothing to learn."""

    support = "continuous"

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        *,
        sigma: float = 0.1,
        seed: int = 0,
        uneven: float = 1.0,
    ) -> None:
        """
        Args:
            shape: of one x, (C, H, W) or (D,).
            sigma: s, the decoder's standard deviation.
            uneven: the ratio of the largest column of W to the smallest; more than 1 makes
                posteriors that are narrow in some directions.
        """
        super().__init__()
        self.data = DataSpec("image" if len(shape) == 3 else "points", shape)
        self.latent_shape, self.sigma = (latent_dim,), sigma
        generator = torch.Generator().manual_seed(seed)
        size = math.prod(shape)
        weight = torch.randn(size, latent_dim, generator=generator) / math.sqrt(latent_dim)
        weight = weight * torch.logspace(0, -math.log10(uneven), latent_dim)
        self.weight = nn.Parameter(0.3 * weight)
        self.bias = nn.Parameter(0.5 + 0.1 * torch.randn(size, generator=generator))

    def mean(self, z: Tensor) -> Tensor:
        """E[x|z], (N, *shape)."""
        flat: Tensor = z @ self.weight.T + self.bias
        shaped: Tensor = flat.unflatten(1, self.data.shape)
        return shaped

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        x = self.mean(z)
        return x if noise is None else x + self.sigma * noise.normal("x", tuple(x.shape)).to(x)

    def explain(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x_i|z), (N, *shape), nats."""
        squares = ((x - self.mean(z)) / self.sigma).square()
        return -0.5 * squares - math.log(self.sigma) - 0.5 * math.log(2 * math.pi)

    def infer(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """q(z|x): the exact mean, and the best variances a diagonal can have, 1/(Σ⁻¹)_jj, made
        somewhat wider."""
        precision = torch.eye(self.latent_shape[0]) + self.weight.T @ self.weight / self.sigma**2
        mu = torch.linalg.solve(
            precision, self.weight.T @ (x.flatten(1) - self.bias).T / self.sigma**2
        ).T
        logvar = math.log(1.5) - precision.diagonal().log()
        return mu, logvar.expand_as(mu)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.infer(x)[0]


@torch.no_grad()
def posterior(model: LinearGaussian, measurement: Measurement) -> tuple[Tensor, Tensor]:
    """The mean (N, D) and the covariance (D, D) of p(z|y), float64."""
    target = Target(model, measurement)
    sigma = model.sigma if target.exact else target.noise
    operator = measurement.operator
    seen = operator.measured.flatten()
    a = operator.matrix()[seen]
    g = a @ model.weight.double()
    centred = measurement.y.double().flatten(1)[:, seen] - a @ model.bias.double()
    precision = torch.eye(g.shape[1], dtype=torch.float64) + g.T @ g / sigma**2
    covariance = torch.linalg.inv(precision)
    return centred @ g @ covariance / sigma**2, covariance
