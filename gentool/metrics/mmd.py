"""Kernel maximum mean discrepancy, in the form of the KID."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2048


def kid(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Unbiased MMD² with the kernel k(x, y) = (x·y/d + 1)³ (Bińkowski et al. 2018, section 4).

    The paper averages over subsets; here one estimate takes all pairs, which has the same mean
    and less variance. It may be slightly negative where the two sides agree.

    Args:
        real: float (n, d); fake: float (m, d); n, m ≥ 2.
    """
    return {"kid": mmd(real, fake)}


def mmd(x: Tensor, y: Tensor) -> float:
    """MMD²_u of Gretton et al. (2012, eq. 3) under the KID's kernel, summed in float64.

    MMD² = Σ_{i≠j} k(x_i, x_j) / n(n−1) + Σ_{i≠j} k(y_i, y_j) / m(m−1) − 2 Σ k(x_i, y_j) / nm
    """
    n, m = len(x), len(y)
    within_x = (kernel_sum(x, x) - kernel_diagonal(x)) / (n * (n - 1))
    within_y = (kernel_sum(y, y) - kernel_diagonal(y)) / (m * (m - 1))
    return within_x + within_y - 2 * kernel_sum(x, y) / (n * m)


def kernel_sum(x: Tensor, y: Tensor) -> float:
    """Σ_ij k(x_i, y_j), block by block."""
    # The three sums nearly cancel, so products are float64 like the sums.
    total = 0.0
    x, y = x.double(), y.double()
    for rows in x.split(BLOCK):
        for columns in y.split(BLOCK):
            total += _cubed(rows @ columns.T, x.shape[1]).sum().item()
    return total


def kernel_diagonal(x: Tensor) -> float:
    """Σ_i k(x_i, x_i)."""
    return _cubed(x.double().square().sum(1), x.shape[1]).sum().item()


def _cubed(products: Tensor, d: int) -> Tensor:
    base = products / d + 1
    return torch.mul(base * base, base)
