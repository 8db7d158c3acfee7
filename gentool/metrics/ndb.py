"""Number of statistically different bins, and the Jensen–Shannon divergence over the bins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gentool.metrics.knn import nearest

BINS = 100
ROUNDS = 20
SIGNIFICANT = 1.959964
"""|z| beyond this has a probability of 5 % under equal shares."""


def ndb(real: Tensor, fake: Tensor, bins: int = BINS) -> dict[str, float]:
    """Compare how reals and fakes fill k-means bins of the reals (Richardson & Weiss 2018).

    ndb  share of bins whose two proportions differ at the 5 % level (their eq. 1); about 0.05
         for equal distributions
    js   Jensen–Shannon divergence of the two histograms, in nats; 0 is ideal, ln 2 the most

    Args:
        real: float32 (n, d), n ≥ bins; fake: float32 (m, d).
    """
    bins = max(2, min(bins, len(real) // 10))
    centres = k_means(real, bins)
    p = histogram(real, centres)
    q = histogram(fake, centres)
    z = two_proportions(p, q)
    return {
        "ndb": (z.abs() > SIGNIFICANT).double().mean().item(),
        "js": jensen_shannon(p / p.sum(), q / q.sum()),
    }


def k_means(x: Tensor, k: int, rounds: int = ROUNDS) -> Tensor:
    """Lloyd's algorithm from a k-means++ start (Arthur & Vassilvitskii 2007): centres (k, d).

    Deterministic: the start is drawn from a generator of its own.
    """
    centres = _spread_start(x, k)
    for _ in range(rounds):
        owner = nearest(x, centres, 1)[1][:, 0]
        sums = torch.zeros_like(centres).index_add_(0, owner, x)
        counts = torch.bincount(owner, minlength=k).unsqueeze(1)
        moved = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _spread_start(x: Tensor, k: int) -> Tensor:
    """Centres drawn one by one, each with probability proportional to d² from those before."""
    generator = torch.Generator().manual_seed(0)
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    squared = (x - x[chosen[0]]).square().sum(1)
    for _ in range(k - 1):
        cumulative = squared.double().cumsum(0)
        u = torch.rand((), generator=generator, dtype=torch.float64).to(x.device)
        row = int(torch.searchsorted(cumulative, u * cumulative[-1]))
        chosen.append(min(row, len(x) - 1))
        squared = torch.minimum(squared, (x - x[chosen[-1]]).square().sum(1))
    return x[chosen].clone()


def histogram(x: Tensor, centres: Tensor) -> Tensor:
    """How many points fall to each centre: float64 (k,), on the CPU."""
    owner = nearest(x, centres, 1)[1][:, 0]
    return torch.bincount(owner, minlength=len(centres)).double().cpu()


def two_proportions(p: Tensor, q: Tensor) -> Tensor:
    """The z statistic of each bin, from counts: (p̂ − q̂) / √(P(1 − P)(1/n + 1/m))."""
    n, m = p.sum(), q.sum()
    pooled = (p + q) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    return torch.where(error > 0, (p / n - q / m) / error, torch.zeros_like(error))


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, in nats."""
    m = (p + q) / 2
    value = 0.5 * (torch.xlogy(p, p) + torch.xlogy(q, q)).sum() - torch.xlogy(m, m).sum()
    return min(math.log(2), max(0.0, value.item()))
