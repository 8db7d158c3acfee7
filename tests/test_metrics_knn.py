"""Nearest neighbours and the metrics made of them, against brute force in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gentool.metrics import knn, tiles
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
    monkeypatch.setattr(tiles, "ROWS", tile[0])
    monkeypatch.setattr(tiles, "COLUMNS", tile[1])
    a, b = cloud(n, d, 0), cloud(m, d, 1)
    distances, indices = knn.nearest(a, b, k)
    expected, order = brute(a, b).topk(k, largest=False)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(indices, order)


def test_no_point_is_its_own_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "ROWS", 24)
    monkeypatch.setattr(tiles, "COLUMNS", 64)
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
    monkeypatch.setattr(tiles, "ROWS", tile[0])
    monkeypatch.setattr(tiles, "COLUMNS", tile[1])
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


def hand_made(case: str) -> Tensor:
    """Sets on which rounding is as large as a distance."""
    if case == "narrow modes":
        angle = torch.arange(600) % 8 * (torch.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1) + 1e-5 * cloud(600, 2, 0)
    if case == "far clusters":
        return torch.cat([cloud(300, 12, 0), cloud(300, 12, 1, 1e4)])
    if case == "narrow modes, many dimensions":
        return 10 * cloud(1, 40, 0) + 1e-5 * cloud(600, 40, 1)
    if case == "exact ties":
        return torch.cartesian_prod(*[torch.arange(5.0)] * 4)
    if case == "duplicates":
        return cloud(60, 20, 0).repeat(7, 1)
    return torch.zeros((50, 9))  # constant


HAND_MADE = ("narrow modes", "far clusters", "narrow modes, many dimensions", "exact ties")
TIED = ("duplicates", "constant")


@pytest.mark.parametrize("case", [*HAND_MADE, *TIED])
@pytest.mark.parametrize("k", [1, 5])
def test_every_neighbour_is_right_however_near(case: str, k: int) -> None:
    x = hand_made(case)
    expected = brute(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).values
    distances, indices = knn.nearest(x, x, k, itself=True)
    torch.testing.assert_close(distances, expected, rtol=1e-12, atol=1e-300)
    found = (x.double()[:, None] - x.double()[indices]).square().sum(2).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("case", [*HAND_MADE, *TIED])
def test_ties_are_decided_by_differences(case: str) -> None:
    """Copies of the reals: each lies in its own ball, and on the rim of others'."""
    x, k = hand_made(case), 5
    radius = brute(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).values[:, -1]
    inside = brute(x, x) <= radius[:, None]
    found = prdc(x, x.clone(), k)
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert found["density"] == pytest.approx(inside.double().sum(0).mean().item() / k, rel=1e-12)


def test_sevenfold_reals_equal_to_the_fakes() -> None:
    """Balls of radius 0 are closed: they hold the copies that they are balls of."""
    real = cloud(100, 64, 0)
    found = prdc(real.repeat(7, 1), real.repeat(7, 1), 5)
    assert found["precision"] == 1 and found["recall"] == 1 and found["density"] == 7 / 5


def test_clusters_far_apart_have_the_density_of_clusters() -> None:
    def clusters(seed: int) -> Tensor:
        near, far = cloud(500, 2, seed), cloud(500, 2, seed + 1, 1e4)
        return torch.cat([near, far])

    assert prdc(clusters(0), clusters(2), 5)["density"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("d", [2, 64])
def test_a_library_that_rounds_more_is_found_out(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products rounded to 8 bits: neighbours stay exact, since candidates are held to the bound."""
    real = tiles.Products.tile

    def rough(self: tiles.Products, rows: slice, columns: slice) -> Tensor:
        found = real(self, rows, columns)
        return found.bfloat16().float() if found.dtype == torch.float32 else found

    monkeypatch.setattr(tiles.Products, "tile", rough)
    x = cloud(400, d, 0)
    expected = brute(x, x).fill_diagonal_(torch.inf).topk(5, largest=False).values
    torch.testing.assert_close(knn.nearest(x, x, 5, itself=True)[0], expected)
