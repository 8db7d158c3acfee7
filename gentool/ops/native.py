"""Loads the compiled kernels, once, when `gentool.ops` is imported; never compiles."""

from __future__ import annotations


def serves(device_type: str) -> bool:
    """Whether native kernels run on this type of device ("cpu", "cuda")."""
    return False
