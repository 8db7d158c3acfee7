"""Constant tensors as the page stores them: half precision by default, bytes in planes.

Large weights become float16 times a power of two that puts the largest at the top of its range, so
that none overflows and few are subnormal: each is off by 2⁻¹¹ of itself at most. Biases, scales
and other short tensors stay float32, whole numbers are int32. The bytes of a tensor lie in planes,
all first bytes, then all second ones: exponents are alike, and so compress.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHORT = 2048
"""Numbers in a tensor up to which half precision would save nothing worth its error."""

TOP = 14
"""The largest weight is put below 2 to this power, a quarter of float16's largest number."""


class Tensors:
    """A table of tensors; one that is used twice is stored once."""

    def __init__(self, half: bool) -> None:
        self.half = half
        self.facts: list[dict[str, Any]] = []
        self.bytes: list[bytes] = []
        self._known: dict[tuple[str, bytes], int] = {}

    def add(self, tensor: Tensor) -> int:
        """The number of a tensor in the table."""
        array = tensor.detach().cpu().contiguous()
        facts, stored = self._encoded(array)
        data = planes(stored)
        facts["n"] = array.numel()
        key = (repr(facts), data)
        if key not in self._known:
            self._known[key] = len(self.facts)
            self.facts.append(facts)
            self.bytes.append(data)
        return self._known[key]

    def _encoded(self, tensor: Tensor) -> tuple[dict[str, Any], np.ndarray]:
        if not (tensor.is_floating_point() or tensor.dtype == torch.bool):
            return {"type": "i32"}, tensor.numpy().astype("<i4")
        values = tensor.float().numpy()
        if not self.half or tensor.numel() <= SHORT or not np.isfinite(values).all():
            return {"type": "f32"}, values.astype("<f4")
        shift = shift_of(values)
        return {"type": "f16", "shift": shift}, np.ldexp(values, shift).astype("<f2")


def shift_of(values: np.ndarray) -> int:
    """The power of two that puts the largest absolute value just below 2 to the `TOP`."""
    largest = float(np.abs(values).max(initial=0.0))
    return 0 if largest == 0 else TOP - math.frexp(largest)[1]


def halved(tensor: Tensor) -> Tensor:
    """What is left of a tensor once it has been stored in half precision, as float32."""
    if not tensor.is_floating_point() or tensor.numel() <= SHORT:
        return tensor
    values = tensor.detach().float().cpu().numpy()
    shift = shift_of(values)
    return torch.from_numpy(np.ldexp(np.ldexp(values, shift).astype("<f2").astype("<f4"), -shift))


def planes(array: np.ndarray) -> bytes:
    """All first bytes, then all second ones, and so on."""
    flat = np.ascontiguousarray(array).reshape(-1, 1).view(np.uint8)
    return flat.T.tobytes()
