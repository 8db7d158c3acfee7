"""Labels as numbers that a network can read beside its input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def one_hot(labels: Tensor | None, size: int, like: Tensor) -> Tensor | None:
    """What a conditional model is told, (N, size) of the dtype of `like`; None for any other.

    Args:
        labels: int64 (N,) of `size` classes, which become one-hot; or attributes (N, size), which
            stay as they are.
    """
    if not size:
        return None
    if labels is None:
        raise ValueError("this model is conditional, and needs labels or attributes")
    if labels.is_floating_point():
        return labels.to(like.dtype)
    return F.one_hot(labels, size).to(like.dtype)


def joined(x: Tensor, extra: Tensor | None) -> Tensor:
    """x (N, D) with `extra` (N, K) beside it: (N, D + K)."""
    return x if extra is None else torch.cat([x, extra.to(x.dtype)], dim=1)
