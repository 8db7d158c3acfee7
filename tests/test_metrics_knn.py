"""Nearest neighbours and the metrics made of them, against brute force in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gentool.metrics import knn
from gentool.metrics.memorisation import share_below
from gentool.metrics.prdc import prdc
from gentool.metrics.two_sample import nearest_neighbour


def cloud(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed)) + shift


def brute(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) by differences in float64."""
    return (a.double()[:, None] - b.double()[None]).square().sum(2).sqrt()


@pytest.mark.parametrize(("n", "m", "d", "k"), [(41, 401, 7, 5), (130, 260, 3, 1), (5, 33, 2, 33)])
@pytest.mark.parametrize("tile", [(16, 64), (1024, 2048), (7, 9)])
def test_neighbours_are_exact(
    n: int, m: int, d: int, k: int, tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of every kind: of whole groups, ragged, and smaller than k."""
    monkeypatch.setattr(knn, "ROWS", tile[0])
    monkeypatch.setattr(knn, "COLUMNS", tile[1])
    a, b = cloud(n, d, 0), cloud(m, d, 1)
    distances, indices = knn.nearest(a, b, k)
    expected, order = brute(a, b).topk(k, largest=False)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(indices, order)


def test_no_point_is_its_own_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "ROWS", 24)
    monkeypatch.setattr(knn, "COLUMNS", 64)
    x = cloud(203, 4, 0)
    x[10] = x[150]  # a twin is a neighbour at distance 0; oneself is not
    expected = brute(x, x).fill_diagonal_(torch.inf).topk(3, largest=False).values
    distances, indices = knn.nearest(x, x, 3, itself=True)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-6, atol=1e-6)
    assert not (indices == torch.arange(203)[:, None]).any()
    assert indices[10, 0] == 150 and distances[10, 0] == 0


def test_far_from_the_origin_nothing_is_lost() -> None:
    """‖a‖² + ‖b‖² − 2 a·b would cancel to noise here; the origin is moved first."""
    x = cloud(300, 5, 0)
    near, _ = knn.nearest(x + 1e4, x + 1e4, 4, itself=True)
    expected = brute(x + 1e4, x + 1e4).fill_diagonal_(torch.inf).topk(4, largest=False).values
    torch.testing.assert_close(near.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing_and_are_given_back(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = knn.nearest(cloud(900, 4, 0), cloud(700, 4, 1), 3)[1]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, brute(cloud(900, 4, 0), cloud(700, 4, 1)).topk(3, largest=False)[1])


def test_too_few_points_is_an_error() -> None:
    with pytest.raises(ValueError, match="no 5 nearest"):
        knn.nearest(cloud(3, 2, 0), cloud(5, 2, 1), 5, itself=True)


@pytest.mark.parametrize("tile", [(16, 64), (1024, 2048)])
def test_prdc_is_its_definition(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "ROWS", tile[0])
    monkeypatch.setattr(knn, "COLUMNS", tile[1])
    real, fake, k = cloud(211, 6, 0), cloud(173, 6, 1, 0.5), 4
    among = [
        brute(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).values[:, -1]
        for x in (real, fake)
    ]
    pairs = brute(real, fake)
    in_real, in_fake = pairs <= among[0][:, None], pairs <= among[1][None]
    assert prdc(real, fake, k) == pytest.approx(
        {
            "precision": in_real.any(0).double().mean().item(),
            "recall": in_fake.any(1).double().mean().item(),
            "density": in_real.sum(0).double().mean().item() / k,
            "coverage": in_real.any(1).double().mean().item(),
        }
    )


def test_prdc_of_equal_normals() -> None:
    """Exchangeability: a fake is in a real's ball with probability k/n, so E density = 1, and
    a ball of k reals misses n fakes with probability (n choose n)/(n+k … n) ≈ 2^−k."""
    found = [prdc(cloud(1500, 8, 2 * i), cloud(1500, 8, 2 * i + 1), 5) for i in range(4)]
    mean = {name: sum(f[name] for f in found) / len(found) for name in found[0]}
    assert mean["density"] == pytest.approx(1.0, abs=0.02)
    assert mean["coverage"] == pytest.approx(1 - 2**-5, abs=0.005)


def test_prdc_tells_noise_and_collapse_apart() -> None:
    real = cloud(600, 4, 0)
    apart = prdc(real, cloud(600, 4, 1, 20.0))
    assert apart == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    collapsed = prdc(real, 0.01 * cloud(600, 4, 1))
    assert collapsed["precision"] > 0.99 and collapsed["recall"] < 0.05
    assert collapsed["coverage"] < 0.5


def test_two_sample_accuracy() -> None:
    real = cloud(1200, 3, 0)
    same = nearest_neighbour(real, cloud(1200, 3, 1))
    assert all(abs(value - 0.5) < 0.04 for value in same.values())
    apart = nearest_neighbour(real, cloud(1200, 3, 1, 9.0))
    assert apart == {"1nn": 1.0, "1nn_real": 1.0, "1nn_fake": 1.0}
    copies = nearest_neighbour(real, real + 1e-4)
    assert copies["1nn"] < 0.01
    collapsed = nearest_neighbour(real, 1e-3 * cloud(1200, 3, 1))
    assert collapsed["1nn_fake"] > 0.98 and collapsed["1nn"] > 0.9


def test_share_below_is_the_mann_whitney_u() -> None:
    a, b = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([2.0, 3.0])
    wins = [(1.0 if x < y else 0.5 if x == y else 0.0) for x in a.tolist() for y in b.tolist()]
    assert share_below(a, b) == pytest.approx(sum(wins) / 6)
