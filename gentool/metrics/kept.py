"""Small networks that were trained once and are kept in the cache.

What is read back is held to what was written: a hash over names, shapes and numbers, and the
network's own shapes and types, before anything of it is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gentool import weights
from gentool.errors import UserError
from gentool.files import open_regular

_KEY = "sha256"
_LARGEST = 2**30


def keep(network: nn.Module, path: Path) -> None:
    """Write a network's weights; where the cache cannot be written, the next run trains again."""
    keep_tensors(network.state_dict(), path)


def keep_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors with their hash; where the cache cannot be written, nothing is kept."""
    with contextlib.suppress(OSError):
        weights.save_tensors(path, state, {_KEY: digest_of(state)})


def read_back(network: nn.Module, path: Path) -> bool:
    """Load kept weights; a missing, damaged, changed or foreign file is passed over, unloaded."""
    if (tensors := kept_tensors(path)) is None:
        return False
    wanted = network.state_dict()
    fits = tensors.keys() == wanted.keys() and all(
        (tensors[k].shape, tensors[k].dtype) == (wanted[k].shape, wanted[k].dtype) for k in wanted
    )
    if not fits:
        return False
    if not all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point()):
        return False
    network.load_state_dict(tensors)
    return True


def kept_tensors(path: Path) -> dict[str, Tensor] | None:
    """What `keep_tensors` wrote; None for a missing, damaged or changed file."""
    try:
        os.close(open_regular(path, _LARGEST))  # no pipe, no link, nothing endless
        tensors = weights.read_tensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, UserError, SafetensorError):
        return None
    return tensors if metadata.get(_KEY) == digest_of(tensors) else None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)  # any type has bytes
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
