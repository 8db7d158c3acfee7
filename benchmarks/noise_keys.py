"""Do two addresses of the fallback's noise begin alike? 10⁸ (stream, step) pairs, in a minute.

    python benchmarks/noise_keys.py               # 100 streams × 1,000,000 steps, 2 GB of memory
    python benchmarks/noise_keys.py --streams 10

The first 64 bits of each sequence are computed by a vectorised Philox4x64-10, which is held to
NumPy's own on a few of them, and sorted. Random 64-bit numbers would meet with a probability of
n²/2⁶⁵: 0.03 % for 10⁸.
"""

from __future__ import annotations

import argparse

import numpy as np

from gentool.ops import noise, philox, stream_id

M0, M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
W0, W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def product(a: np.ndarray, m: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    """The high and the low 64 bits of a·m, from 32-bit halves."""
    a0, a1, m0, m1 = a & LOW, a >> HALF, m & LOW, m >> HALF
    low, middle = a0 * m0, a1 * m0
    carry = (low >> HALF) + (middle & LOW) + a0 * m1
    return a1 * m1 + (middle >> HALF) + (carry >> HALF), a * m


def first_words(key: int, steps: np.ndarray) -> np.ndarray:
    """The first 64 bits of the sequences (key, step); NumPy begins with the counter 1."""
    c = [np.full_like(steps, int(i == 0)) for i in range(4)]
    k0, k1 = np.full_like(steps, key), steps.copy()
    for _ in range(10):
        high0, low0 = product(c[0], M0)
        high1, low1 = product(c[2], M1)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = k0 + W0, k1 + W1
    return c[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1_000_000)
    options = parser.parse_args()
    found = np.empty(options.streams * options.steps, np.uint64)
    with np.errstate(over="ignore"):
        for s in range(options.streams):
            key = philox.key_of(0, stream_id(f"stream/{s}"))
            place = found[s * options.steps : (s + 1) * options.steps]
            for start in range(0, options.steps, 100_000):
                steps = np.arange(start, min(options.steps, start + 100_000), dtype=np.uint64)
                place[start : start + len(steps)] = first_words(key, steps)
            for step in (0, 1, options.steps - 1):
                expected = noise._words(key, step, 0, 2).view("<u8")[0]
                assert place[step] == expected, "the vectorised Philox is not NumPy's"
    found.sort()
    repeated = int((found[1:] == found[:-1]).sum())
    print(f"{len(found):,} addresses, {repeated} first draws repeated")


if __name__ == "__main__":
    main()
