"""Two half circles of radius 1, the second upside down and shifted, with Gaussian noise."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.errors import UserError

COUNT, SIGMA, PIECES = 20_000, 0.05, 20


def arcs(t: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The curves at angles t in [0, π]: (N, 2). `lower` chooses the second moon."""
    x = np.where(lower, 1 - np.cos(t), np.cos(t))
    y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
    return np.stack([x, y], axis=1)


def draw(n: int, seed: int) -> Split:
    """n noisy points, float32 (n, 2), labelled by their moon."""
    rng = np.random.Generator(np.random.Philox([2023, seed]))
    lower = rng.random(n) < 0.5
    points = arcs(np.pi * rng.random(n), lower) + SIGMA * rng.standard_normal((n, 2))
    return Split(points.astype(np.float32), lower.astype(np.int64))


def load(request: Request) -> Loaded:
    """The source: training and test points are independent draws."""
    n = request.count or COUNT
    train, test = draw(n, 0), draw(max(1, n // 10), 1)
    content = hashlib.sha256(train.x.tobytes() + test.x.tobytes()).hexdigest()
    return Loaded(train, test, ("upper", "lower"), content=content, shuffled=True)


def judge(real: Tensor, other: Tensor) -> dict[str, float]:
    """How well `other` lies on the moons; `real` is not looked at, the curves are known.

    Returns:
        on_moons: the share of points within 3σ of a moon.
        moons_reached: the share of the moons' 2 × 20 pieces with a point that near.
    """
    if other.shape[1:] != (2,):
        raise UserError("the metric moons is for points in the plane, such as --data moons")
    middle = np.pi * (np.arange(50 * PIECES) + 0.5) / (50 * PIECES)
    both = [arcs(middle, np.full(len(middle), lower)) for lower in (False, True)]
    curve = torch.from_numpy(np.concatenate(both)).float()
    distance, nearest = torch.cdist(other.float().cpu(), curve).min(1)
    near = distance < 3 * SIGMA
    reached = (nearest[near] // 50).unique()
    return {
        "on_moons": near.float().mean().item(),
        "moons_reached": len(reached) / (2 * PIECES),
    }
