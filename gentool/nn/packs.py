"""Packs of examples that a discriminator sees at once (Lin et al. 2018, arXiv:1712.04086)."""

from __future__ import annotations

import torch
from torch import Tensor


def packed(x: Tensor, m: int) -> Tensor:
    """Packs of m examples, side by side along dim 1: (N, C, …) → (⌈N/m⌉, m·C, …).

    The last pack is filled up from the first examples. What a discriminator of packs sees: Lin et
    al. 2018, arXiv:1712.04086, section 3.
    """
    if m == 1:
        return x
    missing = -len(x) % m
    if missing:
        x = torch.cat([x] * (1 + -(-missing // len(x))))[: len(x) + missing]
    packs: Tensor = x.unflatten(0, (-1, m)).flatten(1, 2)
    return packs


def pack_heads(n: int, m: int, device: torch.device) -> Tensor:
    """Rows (n·m,) of n examples whose n packs of m are headed by each example in turn.

    The others of a pack are as far from its head, and from each other, as n allows.
    """
    apart = max(1, n // m) * torch.arange(m, device=device)
    return ((torch.arange(n, device=device)[:, None] + apart) % n).flatten()
