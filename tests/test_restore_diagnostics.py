"""R̂ and effective samples against ArviZ, and against what is known of autoregressive chains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentool.restore.diagnostics import bulk_effective, rank_normalised, rhat


def autoregressive(rho: float, chains: int, draws: int, seed: int = 0) -> Tensor:
    """x_t = ρ x_{t−1} + √(1 − ρ²) ε: stationary N(0, 1), with τ = (1 + ρ)/(1 − ρ)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(chains, draws, generator=generator, dtype=torch.float64)
    x = noise.clone()
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * noise[:, t]
    return x


def cases() -> list[Tensor]:
    apart = autoregressive(0.3, 4, 200)
    apart[0] += 3
    ties = (2 * autoregressive(0.8, 3, 151)).round()
    wide = autoregressive(0.1, 4, 100)
    wide[1] *= 5
    walk = autoregressive(0.5, 4, 60).cumsum(-1)
    few = autoregressive(0.0, 2, 5)
    return [autoregressive(r, 4, 500) for r in (-0.6, 0.0, 0.9)] + [apart, ties, wide, walk, few]


@pytest.mark.parametrize("number", range(8))
def test_as_arviz(number: int) -> None:
    reference = pytest.importorskip("arviz_stats.base", reason="arviz-stats is not installed")
    x = cases()[number]
    arrays = reference.array_stats
    expected = arrays.rhat(x.numpy(), chain_axis=0, draw_axis=1)
    assert rhat(x).item() == pytest.approx(float(expected), rel=1e-9)
    expected = arrays.ess(x.numpy(), chain_axis=0, draw_axis=1)
    assert bulk_effective(x).item() == pytest.approx(float(expected), rel=1e-9)


def test_many_at_once_are_each_alone() -> None:
    x = torch.stack([autoregressive(0.5, 4, 300, seed) for seed in range(6)]).view(2, 3, 4, 300)
    x[1, 2] = x[1, 2].cumsum(-1)
    for i in range(2):
        for j in range(3):
            assert rhat(x)[i, j] == rhat(x[i, j])
            torch.testing.assert_close(bulk_effective(x)[i, j], bulk_effective(x[i, j]))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_samples_of_an_autoregressive_chain(rho: float) -> None:
    x = autoregressive(rho, 8, 8_000)
    expected = x.numel() * (1 - rho) / (1 + rho)
    assert bulk_effective(x).item() == pytest.approx(expected, rel=0.15)
    assert rhat(x).item() < 1.01


def test_chains_that_disagree_and_chains_that_stand_still() -> None:
    apart = autoregressive(0.0, 2, 400)
    apart[0] += 2
    assert rhat(apart) > 1.3 and bulk_effective(apart) < 10
    wider = autoregressive(0.0, 2, 400)
    wider[0] *= 10  # the same mean; only the folded draws tell
    assert rhat(wider) > 1.2
    still = torch.ones(3, 100)
    assert rhat(still) == 1 and bulk_effective(still) == 300
    stuck = torch.tensor([0.0, 1.0])[:, None].expand(2, 100)
    assert rhat(stuck) > 10
    assert rhat(torch.ones(2, 3)).isnan() and bulk_effective(torch.full((2, 9), math.nan)).isnan()


def test_ranks_of_ties_are_their_mean() -> None:
    x = torch.tensor([[1.0, 1.0, 2.0, 5.0]])
    expected = torch.special.ndtri((torch.tensor([1.5, 1.5, 3, 4]) - 0.375).double() / 4.25)
    torch.testing.assert_close(rank_normalised(x)[0], expected)
