"""How alike two sets of examples are: what both training and evaluation measure by.

`gentool.metrics` holds the metrics that stand on these.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gentool.noise import Noise

DIMS = 64
"""Outputs of the networks whose features are compared."""

PROJECTIONS = 512

WITHIN = 3.0
"""A sample is of high quality within so many standard deviations of a mode."""


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and unbiased covariance (d, d), float64."""
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> float:
    """The squared Fréchet distance of N(μ₁, Σ₁) and N(μ₂, Σ₂) (Dowson & Landau 1982)."""
    # Σ₁Σ₂ has the eigenvalues of the symmetric Σ₁^½ Σ₂ Σ₁^½, which rounding cannot make complex.
    values, vectors = torch.linalg.eigh(sigma1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ sigma2 @ root).clamp(min=0).sqrt().sum()
    squared = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * cross
    return max(0.0, float(squared))


def sliced_wasserstein(a: Tensor, b: Tensor, projections: int = PROJECTIONS) -> float:
    """Mean over random directions of W₁ between the projections (Rabin et al. 2011).

    On a line W₁ is the mean distance of the sorted points.

    Args:
        a, b: float (n, d), the same n.
    """
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for start in range(0, projections, 32):
        count = min(32, projections - start)
        directions = torch.randn((a.shape[1], count), generator=generator).to(a)
        directions = directions / directions.norm(dim=0)
        lines_a, lines_b = ((directions.T @ x.T).sort(1).values for x in (a, b))
        total += (lines_a - lines_b).abs().mean(1).double().sum().item()
    return total / projections


def count_modes(x: np.ndarray, centres: np.ndarray, sigma: float) -> dict[str, float]:
    """Modes reached and share of high-quality samples (Srivastava et al. 2017, section 4.1).

    A sample is of high quality within 3σ of the nearest centre; a mode is reached where at least
    one such sample lies. The mixture itself has 98.9 % in two dimensions.

    Args:
        x: float (n, d); centres: float (modes, d).
    """
    distance = np.empty(len(x))
    owner = np.empty(len(x), np.int64)
    for start in range(0, len(x), 4096):
        rows = slice(start, start + 4096)
        pairs = np.linalg.norm(x[rows, None].astype(np.float64) - centres[None], axis=-1)
        owner[rows], distance[rows] = pairs.argmin(1), pairs.min(1)
    good = distance <= WITHIN * sigma
    return {
        "modes": float(len(np.unique(owner[good]))),
        "high_quality": float(good.mean()),
    }


def random_embedding(channels: int, height: int, width: int) -> nn.Sequential:
    """A convolutional network with fixed random weights: (n, C, H, W) in [−1, 1] → (n, 64).

    After the random embeddings of Naeem et al. (2020, section 4.2): they know no classes, so they
    favour none. The weights are drawn by exact arithmetic, the same on every machine.
    """
    network = small_network(channels, height, width, DIMS)
    noise = Noise(0, "random-features", torch.zeros((), dtype=torch.int64), exact=True)
    with torch.no_grad():
        for name, p in network.named_parameters():
            shape = tuple(p.shape)
            if p.ndim > 1:  # He et al. (2015): variance 2 / fan-in
                fan_in = p[0].numel()
                p.copy_(noise.normal(name, shape) * (2 / fan_in) ** 0.5)
            else:
                p.zero_()
    return network


def small_network(channels: int, height: int, width: int, outputs: int) -> nn.Sequential:
    """Strided 3×3 convolutions until a side is below 8, then one linear layer."""
    layers: list[nn.Module] = []
    wide = 32
    previous = channels
    while True:
        layers += [nn.Conv2d(previous, wide, 3, stride=2, padding=1), nn.ReLU()]
        height, width, previous = (height + 1) // 2, (width + 1) // 2, wide
        if min(height, width) < 8:
            break
        wide = min(2 * wide, 128)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(previous * height * width, outputs))


def centred(x: Tensor) -> Tensor:
    """uint8 as float in [−1, 1]."""
    return x.float() / 127.5 - 1
