"""How many modes a model reaches: Gaussians of a toy mixture, or classes of images."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def count_classes(labels: Tensor, counts: Tensor) -> dict[str, float]:
    """Classes reached, and how far their shares q are from the data's p and from even ones.

    classes     the "modes" of Stacked MNIST
    class_kl    Σ q log(q/p), nats: KL(samples ‖ data), as Metz et al. (2017) define their KL
    uniform_kl  Σ q log(K q), nats: KL(samples ‖ uniform), the KL of PacGAN (Lin et al. 2018).
                Over the 1,000 classes of Stacked MNIST, which are nearly even, both are alike.

    Args:
        labels: int64 (n,), what a classifier says of the samples; some may be beyond K.
        counts: int64 (K,), how often data shows each class. One that data never shows is charged
            as if it had been seen once.
    """
    k = max(len(counts), int(labels.max()) + 1 if len(labels) else 0)
    q = torch.bincount(labels, minlength=k).double() / max(1, len(labels))
    seen = torch.zeros(k, dtype=torch.float64)
    seen[: len(counts)] = counts.double()
    p = seen.clamp(min=1) / seen.sum()
    entropy = -torch.xlogy(q, q).sum()
    return {
        "classes": float((q > 0).sum()),
        "class_kl": max(0.0, -(entropy + torch.xlogy(q, p).sum()).item()),
        "uniform_kl": max(0.0, (math.log(k) - entropy).item()),
    }


def class_counts(labels: np.ndarray, classes: int) -> Tensor:
    """How often each class occurs: int64 (classes,)."""
    return torch.from_numpy(np.bincount(labels, minlength=classes))
