"""How many modes a model reaches: Gaussians of a toy mixture, or classes of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WITHIN = 3.0
"""A sample is of high quality within so many standard deviations of a mode."""


def count_modes(x: np.ndarray, centres: np.ndarray, sigma: float) -> dict[str, float]:
    """Modes reached and share of high-quality samples (Srivastava et al. 2017, section 4.1).

    A sample is of high quality within 3σ of the nearest centre; a mode is reached where at least
    one such sample lies. The mixture itself has 98.9 % in two dimensions.

    Args:
        x: float (n, d); centres: float (modes, d).
    """
    distance = np.empty(len(x))
    owner = np.empty(len(x), np.int64)
    for start in range(0, len(x), 4096):
        rows = slice(start, start + 4096)
        pairs = np.linalg.norm(x[rows, None].astype(np.float64) - centres[None], axis=-1)
        owner[rows], distance[rows] = pairs.argmin(1), pairs.min(1)
    good = distance <= WITHIN * sigma
    return {
        "modes": float(len(np.unique(owner[good]))),
        "high_quality": float(good.mean()),
    }


def count_classes(labels: Tensor, expected: Tensor) -> dict[str, float]:
    """Classes reached, and KL(samples ‖ data) over classes in nats.

    On Stacked MNIST these are the "modes" and "KL" of Metz et al. (2017), VEEGAN and PacGAN.

    Args:
        labels: int64 (n,), what a classifier says of the samples.
        expected: float64 (classes,), the data's own shares. A class that data never shows is
            charged as if it had been seen once.
    """
    shares = torch.bincount(labels, minlength=len(expected)).double() / max(1, len(labels))
    floor = expected[expected > 0].min()
    kl = torch.xlogy(shares, shares) - torch.xlogy(shares, expected.clamp(min=floor.item()))
    return {"classes": float((shares > 0).sum()), "class_kl": max(0.0, kl.sum().item())}


def class_shares(labels: np.ndarray, classes: int) -> Tensor:
    """The data's own distribution over classes: float64 (classes,)."""
    counts = torch.from_numpy(np.bincount(labels, minlength=classes)).double()
    return counts / counts.sum()
