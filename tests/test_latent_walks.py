"""Walks between latents: great circles, lines, and points that are hard to join."""

from __future__ import annotations

import math

import pytest
import torch
from latent_models import Linear

from gentool.latent import paths
from gentool.latent.prior import draw, measure


def test_slerp_is_the_great_circle() -> None:
    """Known angles: every step of a quarter circle turns by the same, at the same length."""
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    t = torch.linspace(0, 1, 7)
    path = paths.slerp(a, b, t)
    angle = t * math.pi / 2
    exact = 2 * torch.stack([angle.cos(), angle.sin(), torch.zeros(7)], 1)
    torch.testing.assert_close(path, exact, rtol=0, atol=1e-6)


def test_slerp_stays_in_the_shell_where_the_line_leaves_it() -> None:
    model = Linear(inputs=100)
    low, high = measure(model).shell
    z = draw(model, 40, seed=1)
    for kind, stays in (("slerp", True), ("linear", False)):
        norms = torch.cat(
            [paths.walk(z[i : i + 2], 11, kind)[0].norm(dim=1) for i in range(0, 40, 2)]  # type: ignore[arg-type]
        )
        assert bool(((norms > low * 0.95) & (norms < high * 1.05)).all()) is stays


@pytest.mark.parametrize("kind", ["slerp", "linear"])
@pytest.mark.parametrize(
    "ends",
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]),
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]),
        ([1e20, 0.0, 0.0], [0.0, 1e-20, 0.0]),
    ],
)
def test_a_walk_meets_its_points_whatever_they_are(
    kind: str, ends: tuple[list[float], ...]
) -> None:
    z = torch.tensor(ends)
    path, nearest = paths.walk(z, 5, kind)  # type: ignore[arg-type]
    assert path.isfinite().all() and len(path) == len(nearest) == 5
    assert torch.equal(path[0], z[0]) and torch.equal(path[-1], z[1])


def test_opposite_points_are_joined_at_their_own_distance() -> None:
    z = torch.tensor([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0]])
    path, _ = paths.walk(z, 9, "slerp")
    torch.testing.assert_close(path.norm(dim=1), torch.full((9,), 3.0))


def test_a_loop_comes_back_without_its_first_point_twice() -> None:
    z = torch.randn(3, 4)
    path, nearest = paths.walk(z, 5, "slerp", loop=True)
    assert len(path) == 12 and torch.equal(path[::4], z)
    assert nearest.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]
