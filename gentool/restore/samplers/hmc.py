"""Hamiltonian Monte Carlo (Neal 2011, arXiv:1206.1901) with what makes it run by itself.

    H(u, p) = U(u) + ½ pᵀ M⁻¹ p,   U(u) = −log p(y|z(u)) + ½‖u‖²

Leapfrog steps of size ε, accepted with min(1, exp(H − H')). For each image, from its chains during
the warm-up: ε by dual averaging towards an acceptance of 0.8 (Hoffman & Gelman 2014,
arXiv:1111.4246, section 3.2), and M⁻¹, the covariance of u. The number of leapfrog steps and a
jitter of ε are drawn anew each time, so that no orbit closes upon itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gentool.noise import Noise
from gentool.restore.samplers.base import Chains, Kernel
from gentool.restore.target import Target

WANTED = 0.8
LONGEST = 12
"""Leapfrog steps of a trajectory, at most."""

GAMMA, DELAY, KAPPA = 0.05, 10, 0.75
"""Of dual averaging, as in Hoffman & Gelman 2014."""

DIVERGED = 1000.0
"""An error of H, in nats, with which a trajectory has left the level set."""


class Hamiltonian(Kernel):
    """HMC with a step size and a metric for each image.

    Attributes:
        diverged: trajectories after the warm-up that lost the level set, (N,).
    """

    name = "hmc"

    def __init__(self, target: Target, chains: int, first: float = 0.1) -> None:
        """
        Args:
            first: ε at first.
        """
        super().__init__(target, chains)
        n, d, device = len(target), target.whitening.size, target.device
        self.size = torch.full((n,), first, device=device)
        self.root = torch.eye(d, device=device).expand(n, d, d).clone()  # Cholesky of M⁻¹
        self.diverged = torch.zeros(n, device=device)
        self.welford = Moments(n, d, device)
        self._restart()

    def _restart(self) -> None:
        """Begin dual averaging anew around ten times the present step."""
        self.centre = torch.log(10 * self.size)
        self.error, self.average = torch.zeros_like(self.size), torch.log(self.size)
        self.count = 0

    def step(self, state: Chains, noise: Noise) -> Tensor:
        m, d = state.u.shape
        if state.gradient is None:
            _, state.gradient = self.target.with_gradient(state.u, state.rows, state.labels)
        # In v with u = L v, M⁻¹ = L Lᵀ, the metric is the identity and p is standard normal.
        root = self.root[state.rows]
        p = noise.normal("momentum", (m, d)).to(state.u.dtype)
        # One length for all chains, so that the batch moves together; a jitter for each.
        length = 1 + int(noise.uniform("length", (1,)).item() * LONGEST)
        jitter = 0.8 + 0.4 * noise.uniform("jitter", (m,)).to(p)
        size = (self.size[state.rows] * jitter)[:, None]
        u, value, gradient = state.u, state.value, state.gradient
        before = self._energy(u, value, p)
        for _ in range(length):
            p = p + 0.5 * size * _times(root.mT, gradient - u)
            u = u + size * _times(root, p)
            value, gradient = self.target.with_gradient(u, state.rows, state.labels)
            p = p + 0.5 * size * _times(root.mT, gradient - u)
        error = self._energy(u, value, p) - before
        error = torch.where(error.isfinite(), error, math.inf)
        accept = torch.exp(-error).clamp(max=1)
        moved = noise.uniform("accept", (m,)).to(accept) < accept
        kept = torch.where(moved[:, None], gradient, state.gradient)
        state.where(moved, u, value)
        state.gradient = kept
        self.diverged += (error > DIVERGED).view(-1, self.chains).sum(1)
        return accept

    @staticmethod
    def _energy(u: Tensor, value: Tensor, p: Tensor) -> Tensor:
        return 0.5 * (u.square() + p.square()).sum(1) - value

    def adapt(self, state: Chains, accepted: Tensor, done: int, total: int) -> None:
        """Step sizes always; the metric from the second and the third quarter, at their ends."""
        self.count += 1
        t = self.count
        weight = 1 / (t + DELAY)
        miss = WANTED - self.by_image(accepted).to(self.error)
        self.error = (1 - weight) * self.error + weight * miss
        log_size = self.centre - math.sqrt(t) / GAMMA * self.error
        share = t**-KAPPA
        self.average = share * log_size + (1 - share) * self.average
        self.size = torch.exp(log_size.clamp(-12, 2))
        quarter = max(1, total // 4)
        if done >= quarter:
            self.welford.add(state.u.view(-1, self.chains, state.u.shape[1]))
        if done + 1 in (2 * quarter, 3 * quarter) and self.welford.count > 1:
            self.root = self.welford.factor()
            self.welford.reset()
            self.size = torch.exp(self.average).clamp(1e-4, 1.0)
            self._restart()
        if done + 1 == total:
            self.size = torch.exp(self.average)
            self.diverged.zero_()


class Moments:
    """Mean and covariance of the draws of each image's chains, summed up as they come."""

    def __init__(self, n: int, d: int, device: torch.device) -> None:
        self.sum = torch.zeros(n, d, dtype=torch.float64, device=device)
        self.squares = torch.zeros(n, d, d, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, u: Tensor) -> None:
        """u: (N, C, D)."""
        wide = u.double()
        self.sum += wide.sum(1)
        self.squares += wide.mT @ wide
        self.count += u.shape[1]

    def reset(self) -> None:
        self.sum.zero_()
        self.squares.zero_()
        self.count = 0

    def factor(self) -> Tensor:
        """The Cholesky factor of the covariance, (N, D, D), with its correlations shrunk.

        A covariance of few, dependent draws has directions of almost no variance. So it is mixed
        with its diagonal, the more the fewer draws there are.
        """
        mean = self.sum / self.count
        cov = self.squares / self.count - mean[:, :, None] * mean[:, None, :]
        variance = cov.diagonal(dim1=1, dim2=2).clamp(1e-8, 1e4)
        d = cov.shape[1]
        weight = self.count / (self.count + 10.0 * d)
        mixed = weight * cov + (1 - weight) * torch.diag_embed(variance)
        mixed += 1e-3 * torch.diag_embed(variance)
        root, failed = torch.linalg.cholesky_ex(mixed)
        plain = torch.diag_embed(variance.sqrt())
        chosen: Tensor = torch.where((failed == 0)[:, None, None], root, plain).float()
        return chosen


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    product: Tensor = (matrix @ vector[:, :, None])[:, :, 0]
    return product
