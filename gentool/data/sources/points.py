"""Toy distributions in one and two dimensions, whose right answer is known.

`ring` and `grid` are the mixtures of the PacGAN paper (Lin et al. 2018, section 4.1, after
VEEGAN), on which modes and high-quality samples are counted; `modes` gives their centres.
"""

from __future__ import annotations

import math

import numpy as np

from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.errors import UserError

DEFAULT_COUNT = 100_000
_TEST_SHARE = 10  # one test point for every ten training points
_SEED = 20_180_412


def modes(name: str) -> tuple[np.ndarray, float]:
    """The mixture behind a toy source: centres, float64 (K, D), and sigma of every component.

    The weights are equal. A sample counts as high quality within 3 sigma of its nearest centre.
    Raises UserError for a source that is no mixture.
    """
    if name == "ring":
        angle = 2 * math.pi * np.arange(8) / 8
        return np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.01
    if name == "grid":
        axis = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(25, 2), 0.05
    if name == "gauss1d":
        return np.array([[4.0]]), 0.5
    raise UserError(f"{name!r} is no mixture of known modes; ring, grid and gauss1d are")


def sample(name: str, n: int, rng: np.random.Generator) -> Split:
    """n points of a toy source, float32 (n, D), with the component's index as the label."""
    if name == "swissroll":
        return Split(_swissroll(n, rng))
    centres, sigma = modes(name)
    k, d = centres.shape
    component = (rng.random(n) * k).astype(np.int64)
    points = centres[component] + sigma * rng.standard_normal((n, d))
    return Split(points.astype(np.float32), component if k > 1 else None)


def _swissroll(n: int, rng: np.random.Generator) -> np.ndarray:
    """The roll seen from its side: t·(cos t, sin t), t in 1.5π … 4.5π, with noise 0.25.

    Divided by 7.5, which brings it to unit scale, as the WGAN-GP paper's toy has it (Gulrajani
    et al. 2017, figure 1).
    """
    t = 1.5 * math.pi * (1 + 2 * rng.random(n))
    roll = np.stack([t * np.cos(t), t * np.sin(t)], axis=1) + 0.25 * rng.standard_normal((n, 2))
    return (roll / 7.5).astype(np.float32)


def load(request: Request) -> Loaded:
    """The toy sources; the training and the test points are independent draws."""
    name, n = request.source.name, request.count or DEFAULT_COUNT
    train = sample(name, n, np.random.Generator(np.random.Philox([_SEED, 0])))
    test = sample(name, max(n // _TEST_SHARE, 1), np.random.Generator(np.random.Philox([_SEED, 1])))
    classes = () if train.labels is None else tuple(str(k) for k in range(len(modes(name)[0])))
    return Loaded(train, test, classes, shuffled=True)
