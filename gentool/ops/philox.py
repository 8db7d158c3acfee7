"""Philox4x32-10 and Box–Muller in plain torch operations: the noise every machine agrees on.

Counter-based random numbers (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011): ten rounds of multiplication turn a counter and a key into four random words, so a draw is
a function of its address and nothing has to be remembered. Here the address is

    key     = hash of (seed, stream)
    counter = (position in the row // 4, row, step, high bits of step and row)

and the four words of one counter serve four neighbours in a row. Row r of a draw is therefore
the same whatever the number of rows, which makes a process of a group able to draw its own share.

Integers are exact, and the normals use only additions, multiplications and square roots, each
correctly rounded and in a fixed order, so the numbers are equal on every machine, bit for bit.
The native CPU kernels repeat the same sequence and agree exactly; the CUDA kernels use the GPU's
sine and cosine and agree to 5e-6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # multipliers, and below the Weyl increments of the key
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF

# Minimax coefficients, lowest order first, by benchmarks/fit_polynomials.py.
_LOG = (0.333333313, -0.250008196, 0.200012267, -0.166233569, 0.142017573, -0.131601825,
        0.12761578, -0.0763449892)  # fmt: skip
_SIN = (-0.166666552, 0.008332178, -0.000195172994)
_COS = (0.0416666456, -0.00138873677, 2.44384519e-05)
_LN2 = 0.693147182
_SQRT_HALF_BITS = 0x3F3504F3
_TURN = 1.46291807e-09  # 2π / 2³²


def mix64(x: int) -> int:
    """A bijection of 64-bit integers in which every input bit reaches every output bit.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    x &= _MASK64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK64
    return x ^ x >> 31


def key_of(seed: int, stream: int) -> int:
    """The 64-bit key of a seed and a stream; for one seed, no two streams share a key."""
    return mix64(mix64(seed + 0x9E3779B97F4A7C15) + stream)


def philox4x32(
    counter: Sequence[Tensor], key: int, rounds: int = 10
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words from four counter words.

    Args:
        counter: four int64 tensors that broadcast, values in [0, 2³²).
        key: 64 bits; the low half is the first key word.

    Returns:
        Four int64 tensors with values in [0, 2³²).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & _MASK, key >> 32 & _MASK
    for _ in range(rounds):
        # int64 products wrap modulo 2⁶⁴, and the bits are those of the unsigned product.
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            (p1 >> 32 & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            (p0 >> 32 & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = k0 + _W0 & _MASK, k1 + _W1 & _MASK
    return c0, c1, c2, c3


def normal(
    shape: Sequence[int],
    *,
    seed: int,
    stream: int,
    step: int | Tensor = 0,
    row_offset: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal draws, equal on every machine.

    Args:
        shape: (rows, …); the first dimension counts rows.
        seed, stream: 64-bit integers; `gentool.ops.stream_id` makes a stream of a name.
        step: an integer in [0, 2⁴⁸) or an int64 scalar tensor; where it is a tensor on `device`,
            the host never waits for it.
        row_offset: the number of the first row, in [0, 2⁴⁸).
        device: where to compute; by default that of `step`, or the CPU.
        dtype: the values are computed in float32 and converted.
    """
    return draw("normal", shape, key_of(seed, stream), step, row_offset, device, dtype)


def uniform(
    shape: Sequence[int],
    *,
    seed: int,
    stream: int,
    step: int | Tensor = 0,
    row_offset: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Uniform draws in [0, 1), equal on every machine; arguments as `normal`.

    The values are multiples of 2⁻²⁴, of 2⁻¹¹ in float16 and of 2⁻⁸ in bfloat16, so that none
    rounds up to 1.
    """
    return draw("uniform", shape, key_of(seed, stream), step, row_offset, device, dtype)


def draw(
    kind: Literal["normal", "uniform"],
    shape: Sequence[int],
    key: int,
    step: int | Tensor,
    row_offset: int,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> Tensor:
    """`normal` or `uniform` for a key that is at hand already."""
    x = _words(shape, key, step, row_offset, device)
    values: tuple[Tensor, ...]
    if kind == "normal":
        values = (*box_muller(x[0], x[1]), *box_muller(x[2], x[3]))
    else:
        bits = {torch.float16: 11, torch.bfloat16: 8}.get(dtype, 24)
        values = tuple((w >> 32 - bits).to(torch.float32) * 2.0**-bits for w in x)
    rows, width = rows_and_width(shape)
    return torch.stack(values, dim=-1).view(rows, -1)[:, :width].reshape(tuple(shape)).to(dtype)


def rows_and_width(shape: Sequence[int]) -> tuple[int, int]:
    """The number of rows of a shape and the number of elements in one."""
    return (shape[0], math.prod(shape[1:])) if len(shape) else (1, 1)


def box_muller(x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent normals from two random words: radius √(−2 ln u), angle 2πv.

    Box and Muller, Ann. Math. Statist. 29 (1958). u = (x0 + ½)/2³² lies in (0, 1], so the largest
    radius is 6.76. Every line is one rounding, repeated to the letter in csrc/math.h.
    """
    u = x0.to(torch.float32) * 2.0**-32 + 2.0**-33
    bits = u.view(torch.int32)
    exponent = (bits - _SQRT_HALF_BITS) >> 23
    f = (bits - (exponent << 23)).view(torch.float32) - 1.0
    square = f * f
    tail = f * square * _horner(_LOG, f) - 0.5 * square
    log_u = (tail + f) + exponent.to(torch.float32) * _LN2
    # torch's float32 square root need not be correctly rounded (MKL's is not); this is.
    radius = torch.sqrt((-2.0 * log_u).double()).to(torch.float32)

    quarter = (x1 + 2**29) >> 30
    angle = (x1 - (quarter << 30)).to(torch.float32) * _TURN
    square = angle * angle
    sine = angle + angle * square * _horner(_SIN, square)
    cosine = (1.0 - 0.5 * square) + square * square * _horner(_COS, square)
    odd = (quarter & 1) == 1
    x = torch.where(odd, sine, cosine) * (1 - (quarter + 1 & 2)).to(torch.float32)
    y = torch.where(odd, cosine, sine) * (1 - (quarter & 2)).to(torch.float32)
    return radius * x, radius * y


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    value = coefficients[-1] * x + coefficients[-2]
    for c in coefficients[-3::-1]:
        value = value * x + c
    return value


def _words(
    shape: Sequence[int],
    key: int,
    step: int | Tensor,
    row_offset: int,
    device: torch.device | str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The random words of a draw, each (rows, blocks of four)."""
    if device is None:
        device = step.device if isinstance(step, Tensor) else "cpu"
    at = torch.device(device)
    step = torch.as_tensor(step, dtype=torch.int64, device=at)
    rows, width = rows_and_width(shape)
    row = torch.arange(row_offset, row_offset + rows, device=at).unsqueeze(1)
    block = torch.arange((width + 3) // 4, device=at).unsqueeze(0)
    high = (step >> 32 & 0xFFFF) | (row >> 32 & 0xFFFF) << 16
    return philox4x32((block, row & _MASK, step & _MASK, high), key)
