"""Distances between distributions, against closed forms of Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gentool.likeness import count_modes, distance, sliced_wasserstein
from gentool.metrics import ndb as bins
from gentool.metrics import swd as slices
from gentool.metrics.frechet import frechet
from gentool.metrics.mmd import mmd
from gentool.metrics.modes import count_classes
from gentool.metrics.swd import laplacian_pyramid, swd


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed))


def test_frechet_of_commuting_covariances() -> None:
    """For diagonal Σ the distance is ‖m‖² + Σ (σ₁ − σ₂)²."""
    s1, s2 = torch.tensor([1.0, 4.0, 0.25]).double(), torch.tensor([9.0, 1.0, 0.0]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = mean.square().sum() + (s1.sqrt() - s2.sqrt()).square().sum()
    found = distance(torch.zeros(3).double(), torch.diag(s1), mean, torch.diag(s2))
    assert found == pytest.approx(expected.item(), rel=1e-12)


def test_frechet_of_any_covariances() -> None:
    """Against tr (Σ₁Σ₂)^½ by the eigenvalues of the product, which is not symmetric."""
    a, b = normal(6, 6, 0).double(), normal(6, 6, 1).double()
    s1, s2 = a @ a.T, b @ b.T
    roots = np.sqrt(np.linalg.eigvals((s1 @ s2).numpy()).real)
    expected = (s1.trace() + s2.trace()).item() - 2 * roots.sum()
    zero = torch.zeros(6).double()
    assert distance(zero, s1, zero, s2) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_samples() -> None:
    """N(0, I) against N(m, 4 I): ‖m‖² + d."""
    x, y = normal(20_000, 4, 0), 2 * normal(20_000, 4, 1) + 1
    assert frechet(x, y)["frechet"] == pytest.approx(4 + 4, rel=0.02)
    assert frechet(x, x)["frechet"] < 1e-9


def test_mmd_is_its_double_sum() -> None:
    x, y = normal(37, 5, 0), normal(23, 5, 1) + 0.3

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a.double() @ b.double() / 5 + 1) ** 3)

    def mean(a: Tensor, b: Tensor, same: bool) -> float:
        values = [
            kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if not same or i != j
        ]
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_mmd_of_two_gaussians() -> None:
    """In one dimension k(x, y) = Σ_p C(3, p) (xy)^p, so MMD² = Σ_p C(3, p) (E x^p − E y^p)²."""
    mean, sigma = 0.5, 1.2
    moments_y = [mean, mean**2 + sigma**2, mean**3 + 3 * mean * sigma**2]
    gaps = [moments_y[0] - 0, moments_y[1] - 1, moments_y[2] - 0]
    expected = sum(c * gap**2 for c, gap in zip((3, 3, 1), gaps, strict=True))
    found = mmd(normal(4000, 1, 0), mean + sigma * normal(4000, 1, 1))
    assert found == pytest.approx(expected, rel=0.12)
    # Unbiased: between equal distributions it is zero on average, not above.
    nulls = torch.tensor([mmd(normal(200, 1, 2 * i), normal(200, 1, 2 * i + 1)) for i in range(60)])
    assert abs(nulls.mean()) < 3 * nulls.std() / math.sqrt(60)
    assert (nulls < 0).any()


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_sliced_wasserstein_of_scaled_normals(sigma: float) -> None:
    """Each slice is N(0, 1) against N(0, σ²): W₁ = (σ − 1) √(2/π)."""
    found = sliced_wasserstein(normal(10_000, 5, 0), sigma * normal(10_000, 5, 1), 128)
    assert found == pytest.approx((sigma - 1) * math.sqrt(2 / math.pi), rel=0.03)


def test_sliced_wasserstein_of_a_shift() -> None:
    """A shift m moves each slice by |θ·m|; in two dimensions its mean is ‖m‖ · 2/π."""
    x = normal(2000, 2, 0)
    found = sliced_wasserstein(x, x + torch.tensor([3.0, 4.0]), projections=1500)
    assert found == pytest.approx(5 * 2 / math.pi, rel=0.02)


def test_the_pyramid_adds_up_again() -> None:
    """Band-passes and the rest hold all that was in the image; a flat image has no detail."""
    x = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    levels = laplacian_pyramid(x)
    assert [level.shape[-1] for level in levels] == [32, 16]
    flat = laplacian_pyramid(torch.full((1, 1, 28, 28), 0.7))
    assert flat[0].abs().max() < 1e-6
    torch.testing.assert_close(flat[1], torch.full((1, 1, 14, 14), 0.7))


def test_swd_of_images_sees_the_scale_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "PROJECTIONS", 48)
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand((400, 1, 8, 8), generator=generator)
    big = torch.nn.functional.interpolate(smooth, size=32, mode="bicubic").clamp(0, 1) * 255
    rough = (big + 20 * torch.randn(big.shape, generator=generator)).clamp(0, 255)
    one, two, noisy = big[:200].byte(), big[200:].byte(), rough[200:].byte()
    same, off = swd(one, two), swd(one, noisy)
    assert off["swd_32"] > 4 * same["swd_32"]
    assert off["swd_32"] > 2 * off["swd_16"]


def test_bins_of_equal_and_of_different_sets() -> None:
    """At the 5 % level 5 % of the bins differ by chance: a binomial of 100 trials, 400 here."""
    shares = [bins.ndb(normal(3000, 2, 2 * i), normal(3000, 2, 2 * i + 1))["ndb"] for i in range(4)]
    assert 0.02 < sum(shares) / 4 < 0.09
    off = bins.ndb(normal(3000, 2, 0), normal(3000, 2, 1) + 1)
    assert off["ndb"] > 0.5 and off["js"] > 0.05


def test_jensen_shannon_at_its_ends() -> None:
    one, other = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    assert bins.jensen_shannon(one, other) == pytest.approx(math.log(2))
    assert bins.jensen_shannon(one, one) == 0
    half = torch.tensor([0.5, 0.5]).double()
    expected = 0.5 * (math.log(1 / 0.75)) + 0.5 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(2))
    assert bins.jensen_shannon(one, half) == pytest.approx(expected)


def test_k_means_finds_clusters_that_are_there() -> None:
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    x = centres.repeat_interleave(50, 0) + 0.1 * normal(200, 2, 0)
    found = bins.k_means(x, 4)
    assert sorted(map(tuple, found.round().tolist())) == sorted(map(tuple, centres.tolist()))


def test_modes_and_quality() -> None:
    centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    x = np.array([[0.05, 0], [0.31, 0], [5.0, 0.29], [2.5, 2.5]])
    found = count_modes(x, centres, sigma=0.1)
    assert found == {"modes": 2.0, "high_quality": 0.5}


def test_classes_and_their_divergence() -> None:
    even = count_classes(torch.arange(400) % 4, torch.full((4,), 50))
    assert even == pytest.approx({"classes": 4, "class_kl": 0, "uniform_kl": 0}, abs=1e-12)
    single = count_classes(torch.zeros(10, dtype=torch.int64), torch.full((4,), 50))
    expected = {"classes": 1, "class_kl": math.log(4), "uniform_kl": math.log(4)}
    assert single == pytest.approx(expected)


def test_the_two_divergences_tell_data_from_even_shares() -> None:
    """Samples in the proportions of uneven data: KL to the data is 0, to even shares it is not."""
    counts = torch.tensor([60, 30, 10])
    found = count_classes(torch.repeat_interleave(torch.arange(3), counts), counts)
    entropy = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    expected = {"classes": 3, "class_kl": 0, "uniform_kl": math.log(3) - entropy}
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_that_data_never_shows_counts_as_seen_once() -> None:
    counts, labels = torch.tensor([900, 100, 0]), torch.tensor([0, 0, 1, 2])
    kl = 0.5 * math.log(0.5 / 0.9) + 0.25 * math.log(0.25 / 0.1) + 0.25 * math.log(0.25 / 0.001)
    assert count_classes(labels, counts)["class_kl"] == pytest.approx(kl)
    more = count_classes(torch.tensor([0, 4]), counts)  # more classes than the data has
    assert more["classes"] == 2 and more["class_kl"] == pytest.approx(
        0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.001)
    )
