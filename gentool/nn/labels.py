"""Labels as numbers that a network can read beside its input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def class_count(conditional: bool, classes: Sequence[str]) -> int:
    """How many classes a model is told of: the data's `classes`, or 0 for an unconditional model.

    Raises ValueError for a conditional model of data without labels.
    """
    if conditional and not classes:
        raise ValueError("--conditional needs data with labels, and this data has none")
    return len(classes) if conditional else 0


def one_hot(labels: Tensor | None, classes: int, like: Tensor) -> Tensor | None:
    """Labels (N,) as (N, classes) of the dtype of `like`; None for an unconditional model."""
    if not classes:
        return None
    if labels is None:
        raise ValueError("this model is class-conditional and needs labels")
    return F.one_hot(labels, classes).to(like.dtype)


def joined(x: Tensor, extra: Tensor | None) -> Tensor:
    """x (N, D) with `extra` (N, K) beside it: (N, D + K)."""
    return x if extra is None else torch.cat([x, extra.to(x.dtype)], dim=1)
