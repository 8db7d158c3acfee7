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
    state = network.state_dict()
    with contextlib.suppress(OSError):
        weights.save_tensors(path, state, {_KEY: _digest(state)})


def read_back(network: nn.Module, path: Path) -> bool:
    """Load kept weights; a missing, damaged, changed or foreign file is passed over, unloaded."""
    try:
        os.close(open_regular(path, _LARGEST))  # no pipe, no link, nothing endless
        tensors = weights.read_tensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, UserError, SafetensorError):
        return False
    wanted = network.state_dict()
    fits = tensors.keys() == wanted.keys() and all(
        (tensors[k].shape, tensors[k].dtype) == (wanted[k].shape, wanted[k].dtype) for k in wanted
    )
    if not fits or metadata.get(_KEY) != _digest(tensors):
        return False
    if not all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point()):
        return False
    network.load_state_dict(tensors)
    return True


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()
