"""Choosing the device and how it computes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gentool.errors import UserError, printable


def pick_device(name: str) -> torch.device:
    """``auto`` is cuda where there is one, else cpu; raises UserError for what is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(
            f"--device {printable(name)!r} is unknown; it takes auto, cpu, cuda, cuda:1 or mps"
        ) from None
    here: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": lambda: (device.index or 0) < torch.cuda.device_count(),
        "mps": lambda: torch.backends.mps.is_available(),
    }
    if device.type not in here or not here[device.type]():
        raise UserError(f"--device {printable(name)} is not available here; try --device auto")
    return device


def physical_memory() -> int:
    """Bytes of memory in this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def set_up(threads: int | None, deterministic: bool, seed: int) -> None:
    """Set the process up before a model is built: threads, determinism, memory, the global seed."""
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next step, which needs as much again.

    By default it gives large blocks back to the system. Paging them in anew was up to a quarter
    of a convolutional model's step.
    """
    if sys.platform != "linux" or any(
        name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ
    ):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    except (OSError, AttributeError):  # another C library
        return


def model_layout(model: nn.Module) -> torch.memory_format:
    """Channels last for convolutions, which vector units and tensor cores prefer."""
    convolves = any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules())
    return torch.channels_last if convolves else torch.contiguous_format


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy in host memory that shares nothing with the original."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def is_out_of_memory(error: BaseException) -> bool:
    """torch's CPU allocator complains by a plain RuntimeError."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)
