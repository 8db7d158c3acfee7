"""Noise addressed by (seed, stream, step): stream names, and the draws without native kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

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
    graph can hold it. Elsewhere a `torch.Generator` seeded by the same address is forty times
    faster. Its row slices agree too, because it draws from row 0 on.
    """
    if step.device.type == "cuda":
        return philox.draw(kind, shape, key, step, row_offset, step.device, dtype)
    rows, width = philox.rows_and_width(shape)
    skip, count = row_offset * width, rows * width
    # torch's CPU normals come in blocks of 16, and a shorter last block would be drawn otherwise.
    total = -(-(skip + count) // 16) * 16
    generator = torch.Generator().manual_seed(philox.mix64(key ^ philox.mix64(int(step) + 1)))
    sample = torch.randn if kind == "normal" else torch.rand
    values = sample(total, generator=generator)[skip : skip + count].view(tuple(shape))
    if kind == "uniform" and dtype in (torch.float16, torch.bfloat16):
        grain = 2.0 ** (11 if dtype == torch.float16 else 8)
        values = (values * grain).floor_() / grain  # rounding up to 1 would leave [0, 1)
    return values.to(device=step.device, dtype=dtype)
