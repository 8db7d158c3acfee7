"""Where compiled libraries lie, under which key, and what is written beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

from gentool.cachefolder import cache_folder, own_folder
from gentool.ops import sources
from gentool.ops.cpu import cpu_flags

LIBRARY, RECORD = "_C.so", "build.json"

LARGEST_RECORD = 64 * 1024
"""Bytes of a record that are read at most."""


@dataclass(frozen=True)
class Record:
    """What a build wrote beside its library; whoever loads it checks this first."""

    torch: str
    abi: str
    sources: str
    size: int
    sha256: str
    needs: tuple[str, ...] = ()
    targets: str = ""
    """Compute capabilities of its CUDA code, as torch writes them; empty without any."""

    def write(self, path: Path) -> None:
        with path.open("w") as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def read(cls, descriptor: int) -> Record:
        """The record in an open file; raises ValueError on anything else than a record."""
        try:
            value = json.loads(os.pread(descriptor, LARGEST_RECORD, 0))
            words = [value[name] for name in ("torch", "abi", "sources", "sha256")]
            needs, targets = value["needs"], value.get("targets", "")
            texts = (*words, *needs, targets)
            if type(value["size"]) is not int or not all(type(w) is str for w in texts):
                raise TypeError("its entries have the wrong types")
            torch_, abi_, sources_, sha256 = words
            return cls(torch_, abi_, sources_, value["size"], sha256, tuple(needs), targets)
        except (KeyError, TypeError, ValueError, RecursionError) as e:
            raise ValueError(f"{RECORD} is not a record of a build") from e


def file_hash(descriptor: int) -> str:
    """SHA-256 of an open file, whatever has been read of it."""
    total, at = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, 2**20, at):
        total.update(chunk)
        at += len(chunk)
    return total.hexdigest()


def abi() -> str:
    """Python's binary interface, such as ``cpython-311-x86_64-linux-gnu``."""
    return str(sysconfig.get_config_var("SOABI") or platform.python_implementation())


def directory() -> Path:
    """The per-user cache of compiled libraries: `kernels` in $GENTOOL_CACHE or ~/.cache/gentool."""
    return cache_folder() / "kernels"


def directories() -> list[Path]:
    """Where libraries are looked for: `directory`, and the user's own cache if that is another.

    So a cache of its own for data, on another disk, does not cost the kernels.
    """
    return list(dict.fromkeys([directory(), own_folder() / "kernels"]))


def key() -> str:
    """What a library depends on: the sources, torch, Python's ABI, the processor."""
    parts = [sources.digest(sources.root()), torch.__version__, abi(), platform.machine()]
    parts += sorted(cpu_flags())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
