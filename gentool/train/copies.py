"""Whether samples are copies of training images: a cheap look at the end of a training.

`gentool evaluate --metrics memorisation` has the whole of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.data.dataset import Dataset
from gentool.train.batches import as_tensor

TEST = 256
"""Test images that are compared with; with fewer than `LEAST` there is no saying."""

LEAST = 50
MOST_VALUES = 2**26
"""Values of training images that are searched: all of 85,000 of 28×28; more are thinned."""

ROWS = 4096


def distance_ratio(fakes: Tensor, dataset: Dataset, device: torch.device) -> float | None:
    """Median distance of fakes to their nearest training image, over that of test images.

    About 1 for samples as new as the test set, 0 for copies; Euclidean distances of pixels.

    Args:
        fakes: float (n, C, H, W) in [0, 1].

    Returns:
        None for points, and where there are too few test images.
    """
    if dataset.spec.kind != "image" or len(dataset.test) < LEAST:
        return None
    rows = torch.arange(TEST) * len(dataset.test) // TEST
    tests = as_tensor(dataset.test.x).index_select(0, rows.unique())
    queries = torch.cat([fakes.flatten(1), torch.true_divide(tests, 255).flatten(1)]).to(device)
    nearest = _to_nearest(queries, as_tensor(dataset.train.x), dataset.spec.size)
    ours, theirs = nearest[: len(fakes)].median(), nearest[len(fakes) :].median()
    return float(ours / theirs) if theirs > 0 else None


def _to_nearest(queries: Tensor, train: Tensor, size: int) -> Tensor:
    """Distances (n,) to the nearest of the training images, uint8 (N, C, H, W)."""
    every = max(1, -(-len(train) * size // MOST_VALUES))
    best = torch.full((len(queries),), torch.inf, device=queries.device)
    for start in range(0, len(train), ROWS * every):
        part = train[start : start + ROWS * every : every].to(queries.device)
        found = torch.cdist(queries, torch.true_divide(part, 255).flatten(1))
        best = torch.minimum(best, found.amin(1))
    return best
