"""Are samples copies of training examples?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gentool.metrics.knn import nearest

ACROSS = 10
"""Columns of the picture: a sample and its nearest training images."""

PART = 5000


def to_nearest(x: Tensor, train: Tensor) -> Tensor:
    """Each point's distance to its nearest training point: (n,).

    Args:
        x: float32 (n, d); train: float32 (N, d), all of it.
    """
    return nearest(x, train, 1)[0][:, 0].contiguous()


def compare(fake: Tensor, test: Tensor) -> dict[str, float]:
    """Compare fakes' distances to the training set with those of held-out reals.

    closer          P(d(fake, train) < d(test, train)), ties half: 0.5 is ideal, 1 means copies
                    (the Mann–Whitney U of Meehan et al. 2020, taken over the whole space)
    distance_ratio  median d(fake, train) / median d(test, train)

    Args:
        fake, test: distances by `to_nearest`, (n,).
    """
    ratio = fake.median() / test.median().clamp(min=1e-12)
    return {"closer": share_below(fake, test), "distance_ratio": ratio.item()}


def share_below(a: Tensor, b: Tensor) -> float:
    """P(a < b) + ½ P(a = b) over all pairs of the two samples."""
    ordered = b.sort().values
    below = torch.searchsorted(ordered, a, right=False).double()
    not_above = torch.searchsorted(ordered, a, right=True).double()
    return 1 - ((below + not_above) / 2).mean().item() / len(b)


def neighbours_sheet(fake: np.ndarray, train: np.ndarray, rows: int = 10) -> np.ndarray:
    """Pictures to look at: each row a sample and its nearest training images, by pixels.

    Args:
        fake: uint8 (n, C, H, W); train: uint8 (N, C, H, W), N at least 9; read part by part.

    Returns:
        uint8 (rows·ACROSS, C, H, W), to be laid out ACROSS a row.
    """
    k = min(ACROSS - 1, len(train))
    shown = fake[:rows]
    queries = _flat(shown)
    distances, indices = [], []
    for start in range(0, len(train), PART):
        part = _flat(train[start : start + PART])
        near = nearest(queries, part, min(k, len(part)))
        distances.append(near[0])
        indices.append(near[1] + start)
    best = torch.cat(distances, 1).topk(k, largest=False).indices
    found = torch.cat(indices, 1).gather(1, best).numpy()
    sheet = np.zeros((len(shown), ACROSS, *fake.shape[1:]), np.uint8)
    sheet[:, 0] = shown
    sheet[:, 1 : k + 1] = train[found]
    return sheet.reshape(-1, *fake.shape[1:])


def _flat(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
