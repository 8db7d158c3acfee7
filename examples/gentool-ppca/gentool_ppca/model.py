"""Probabilistic PCA (Tipping & Bishop 1999), the shallow latent-variable model.

prior       p(z) = N(0, I),  z in q dimensions
decoder     p(x|z) = N(Wz + μ, σ²I)
marginal    p(x) = N(μ, C),  C = WWᵀ + σ²I
posterior   p(z|x) = N(M⁻¹Wᵀ(x − μ), σ²M⁻¹),  M = WᵀW + σ²I
minimise    −log p(x), which needs no bound: the posterior is known
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gentool.model import Adam, Batch, Model, Objective, Player, Step
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_ppca import PPCAConfig

SMALLEST = 1e-6
"""σ² is at least this share of the largest variance: data in a plane would make it 0."""


class PPCA(Model):
    """A game of one player, who starts where the examples at hand are most likely."""

    support = "continuous"

    def __init__(self, config: PPCAConfig, data: DataSpec) -> None:
        """Raises ValueError where there are as many components as an example has values."""
        super().__init__()
        if config.latent_dim >= data.size:
            raise ValueError(
                f"--latent-dim is {config.latent_dim}, but an example has {data.size} values, and "
                "there must be fewer components"
            )
        self.config, self.data, self.latent_shape = config, data, (config.latent_dim,)
        self.mean = nn.Parameter(torch.zeros(data.size))
        self.weight = nn.Parameter(0.1 * torch.randn(data.size, config.latent_dim))
        self.log_sigma = nn.Parameter(torch.tensor(-1.0))

    def players(self) -> Sequence[Player]:
        return [Player("ppca", self, self.objective, Adam(self.config.lr))]

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """The maximum of the likelihood of x, in closed form (eqs. 7 and 8).

        W = U (Λ − σ²I)^½ and σ² = the mean of the variances left out, with the q largest
        eigenvalues Λ of the covariance and their eigenvectors U. Pixels count as dequantised.
        """
        x = x.flatten(1).double()
        mean, q, d = x.mean(0), self.config.latent_dim, self.data.size
        values, vectors = leading(x - mean, q)
        total = (x - mean).square().sum() / len(x)
        if self.data.kind == "image":  # (255 x + u)/256, u ~ U[0, 1)
            mean = (255 * mean + 0.5) / 256
            step = 1 / (12 * 256**2)
            values, total = (255 / 256) ** 2 * values + step, (255 / 256) ** 2 * total + d * step
        rest = (total - values.sum()) / (d - q)
        variance = rest.clamp(min=max(SMALLEST * float(values.max()), 1e-30))
        self.mean.copy_(mean)
        self.weight.copy_(vectors * (values - variance).clamp(min=0).sqrt())
        self.log_sigma.copy_(0.5 * variance.log())

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
        """log p(x) in nats, (N,): (q×q) algebra only.

        log |C| = (D − q) log σ² + log |M|,  and  C⁻¹ = (I − WM⁻¹Wᵀ)/σ².
        """
        with torch.autocast(x.device.type, enabled=False):
            centred = x.flatten(1).to(self.mean.dtype) - self.mean
            variance = torch.exp(2 * self.log_sigma)
            root = self.posterior_root(variance)
            explained = torch.linalg.solve_triangular(root, self.weight.T @ centred.T, upper=False)
            squares = (centred.square().sum(1) - explained.square().sum(0)) / variance
            d, q = self.weight.shape
            log_det = 2 * ((d - q) * self.log_sigma + root.diagonal().log().sum())
            return -0.5 * (squares + log_det + d * math.log(2 * math.pi))

    def posterior_root(self, variance: Tensor) -> Tensor:
        """L with LLᵀ = M = WᵀW + σ²I, (q, q)."""
        identity = torch.eye(self.weight.shape[1], device=variance.device, dtype=variance.dtype)
        root: Tensor = torch.linalg.cholesky(self.weight.T @ self.weight + variance * identity)
        return root

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean M⁻¹Wᵀ(x − μ), (N, q)."""
        root = self.posterior_root(torch.exp(2 * self.log_sigma))
        return torch.cholesky_solve(self.weight.T @ (x.flatten(1) - self.mean).T, root).T

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        x = z @ self.weight.T + self.mean
        if noise is not None:
            x = x + torch.exp(self.log_sigma) * noise.normal("x", tuple(x.shape)).to(x.dtype)
        x = x.unflatten(1, self.data.shape)
        return x.clamp(0, 1) if self.data.kind == "image" else x

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        """With the posterior itself for q(z|x) every weight is p(x): (k, N)."""
        return self.log_prob(self.presented(batch, noise)[0]).expand(k, -1)


def leading(centred: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """The q largest eigenvalues of the covariance and their eigenvectors (D, q), largest first.

    Args:
        centred: float64 (N, D), of mean 0; the smaller of N×N and D×D is decomposed.
    """
    n, d = centred.shape
    if d <= n:
        values, vectors = torch.linalg.eigh(centred.T @ centred / n)
        return values[-q:].flip(0).clamp(min=0), vectors[:, -q:].flip(1)
    values, rows = torch.linalg.eigh(centred @ centred.T / n)
    values, rows = values[-q:].flip(0).clamp(min=0), rows[:, -q:].flip(1)
    vectors = centred.T @ rows / (n * values).sqrt().clamp(min=1e-30)
    missing = q - values.shape[0]  # fewer examples than components: no variance there
    return nn.functional.pad(values, (0, missing)), nn.functional.pad(vectors, (0, missing))
