"""Noise addressed by (seed, stream, step): stream names, and the draws without native kernels."""

from __future__ import annotations

import hashlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gentool.ops import philox

Kind = Literal["normal", "uniform"]


def stream_id(name: str) -> int:
    """A number in [0, 2⁶³) for a stream's name, the same in every process and release."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def signed64(x: int) -> int:
    """The two's-complement reading of 64 bits, which is what an operation's schema can carry."""
    x &= 2**64 - 1
    return x - 2**64 if x >= 2**63 else x


def draw(
    kind: Kind, shape: Sequence[int], key: int, step: Tensor, row_offset: int, dtype: torch.dtype
) -> Tensor:
    """The fallback draw, on the device of `step`.

    On a GPU it is Philox in torch operations: the host does not wait for `step`, so that a CUDA
    graph can hold it. Elsewhere NumPy's Philox is forty times faster. Both are random access: a
    row is the same however many there are, and costs the same wherever it stands.
    """
    if step.device.type == "cuda":
        return philox.draw(kind, shape, key, step, row_offset, step.device, dtype)
    rows, width = philox.rows_and_width(shape)
    start, count = row_offset * width, rows * width
    sequence = _SEQUENCES[_version]
    values = sequence(kind, key, int(step), start, count).view(tuple(shape))
    if kind == "uniform" and dtype in (torch.float16, torch.bfloat16):
        grain = 2.0 ** (11 if dtype == torch.float16 else 8)
        values = (values * grain).floor_() / grain  # rounding up to 1 would leave [0, 1)
    return values.to(device=step.device, dtype=dtype)


VERSION = 2
"""What `version` is for new work: 1 was torch's CPU generator, which keeps 32 bits of its seed."""

_version = VERSION


@contextmanager
def version(number: int) -> Iterator[None]:
    """Draw as an older release did, in the whole process; a run goes on as it began.

    Raises:
        ValueError: for a version that this release does not know.
    """
    global _version
    if number not in _SEQUENCES:
        raise ValueError(f"noise of version {number} is not known to this release")
    before, _version = _version, number
    try:
        yield
    finally:
        _version = before


def permutation(n: int, seed: int, epoch: int) -> Tensor:
    """A random order of 0 … n−1, int64, as a function of (seed, epoch); on the CPU."""
    mixed = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + 1) % 2**63
    if _version == 1:
        return torch.randperm(n, generator=torch.Generator().manual_seed(mixed))
    key = np.array([mixed, philox.mix64(seed)], dtype=np.uint64)
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).permutation(n))


def _philox(kind: Kind, key: int, step: int, start: int, count: int) -> Tensor:
    """Values start … start + count − 1 of the endless sequence of (key, step), float32 (count,).

    Philox4x64-10 (Salmon et al. 2011), whose 128-bit key is (key, step) as it is, so that no two
    draws share a sequence. A uniform is the upper 24 bits of a 32-bit word; two normals come from
    two words by Box and Muller (1958), with a radius of 6.76 at most.
    """
    if kind == "uniform":
        words = _words(key, step, start, count)
        words >>= 8
        values = words.astype(np.float32)
        values *= _GRAIN
        return torch.from_numpy(values)
    skip = start % 2
    unit = _words(key, step, start - skip, skip + count + (skip + count) % 2).astype(np.float32)
    unit *= _WORD
    even, odd = unit[0::2], unit[1::2]
    # Worked on in a contiguous copy, since cosines of every second value are not vectorised.
    radius = even + _HALF_WORD
    np.log(radius, out=radius)
    radius *= _MINUS_TWO
    np.sqrt(radius, out=radius)
    angle = odd * _TWO_PI
    np.multiply(radius, np.cos(angle), out=even)
    np.multiply(radius, np.sin(angle, out=angle), out=odd)
    return torch.from_numpy(unit[skip : skip + count])


_GRAIN, _WORD, _HALF_WORD = np.float32(2**-24), np.float32(2**-32), np.float32(2**-33)
_MINUS_TWO, _TWO_PI = np.float32(-2), np.float32(2 * math.pi)


class _Generator(threading.local):
    """A bit generator of each thread, and a state of it to write addresses into.

    Making one costs more than the draw of a small batch, because it asks the system for entropy.
    """

    def __init__(self) -> None:
        self.bits = np.random.Philox(0)
        self.state: Any = self.bits.state
        self.place: Any = self.state["state"]


_generator = _Generator()


def _words(key: int, step: int, start: int, count: int) -> np.ndarray:
    """32-bit words start … start + count − 1, uint32; a counter of Philox gives eight."""
    counter, skip = divmod(start, 8)
    own = _generator
    own.place["key"] = (key & _MASK64, step & _MASK64)
    own.place["counter"] = (counter & _MASK64, counter >> 64, 0, 0)
    own.bits.state = own.state
    raw = own.bits.random_raw((skip + count + 1) // 2)
    words: np.ndarray = raw.view(np.uint32)[skip : skip + count]
    return words if _LITTLE else raw.astype("<u8").view("<u4")[skip : skip + count]


_LITTLE = sys.byteorder == "little"
_MASK64 = 2**64 - 1


def _mersenne(kind: Kind, key: int, step: int, start: int, count: int) -> Tensor:
    """Version 1: from the first row on, by torch's CPU generator."""
    # torch's CPU normals come in blocks of 16, and a shorter last block would be drawn otherwise.
    total = -(-(start + count) // 16) * 16
    generator = torch.Generator().manual_seed(philox.mix64(key ^ philox.mix64(step + 1)))
    sample = torch.randn if kind == "normal" else torch.rand
    return sample(total, generator=generator)[start : start + count]


_SEQUENCES: dict[int, Callable[[Kind, int, int, int, int], Tensor]] = {1: _mersenne, 2: _philox}
VERSIONS = frozenset(_SEQUENCES)
