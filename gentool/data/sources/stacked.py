"""Stacked MNIST: three random digits as the red, green and blue of one image, 1,000 modes.

Metz et al. (2017, section 3.3.1), with the sizes of VEEGAN and PacGAN: 128,000 training images;
26,000 test images, made from MNIST's own test digits. Label 472 is a red 4, a green 7, a blue 2.
"""

from __future__ import annotations

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request, resolve, run
from gentool.errors import UserError, printable

DEFAULT_COUNT = 128_000
TEST_COUNT = 26_000
CHANNELS = 3
CLASSES = tuple(f"{number:03d}" for number in range(1000))
_SEED = 20_170_502


def load(request: Request) -> Loaded:
    """Stack the digits of the source ``mnist``, which is found or downloaded as by that name."""
    digits = run(resolve("mnist", request.options, request.progress))
    n = request.count or DEFAULT_COUNT
    if digits.test is None or digits.train.x.shape[1] != 1:
        raise UserError(
            f"{printable(request.source.name)} stacks grey digits with a test split; "
            "leave --channels alone"
        )
    key = {"source": "stacked-mnist", "digits": digits.content, "n": n, "test": TEST_COUNT}
    test = digits.test

    def make() -> Loaded:
        train, held_out = stack(digits.train, n, 0), stack(test, TEST_COUNT, 1)
        return Loaded(train, held_out, CLASSES, shuffled=True)

    return cache.through(request.options, key, make)


def stack(digits: Split, n: int, stream: int) -> Split:
    """n images (n, 3, H, W) of three digits each, drawn uniformly with replacement."""
    assert digits.labels is not None
    rng = np.random.Generator(np.random.Philox([_SEED, stream]))
    rows = rng.integers(len(digits.x), size=(n, CHANNELS))
    images = np.ascontiguousarray(digits.x[rows, 0])
    return Split(images, digits.labels[rows] @ np.array([100, 10, 1]))
