"""Fixed orders and splits, the same on every machine and under every numpy version."""

from __future__ import annotations

import numpy as np


def fixed_order(n: int) -> np.ndarray:
    """A fixed permutation of 0 … n−1, int64.

    Sorts by SplitMix64's output (Steele, Lea and Flood 2014), a bijection, so no key repeats.
    """
    z = (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.argsort(z, kind="stable")


def held_out(n: int, share: float) -> int:
    """How many of n examples a holdout takes: at least one, and never all."""
    return min(max(round(n * share), 1), n - 1) if share > 0 and n > 1 else 0
