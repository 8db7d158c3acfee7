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

from gentool.ops import sources

LIBRARY, RECORD = "_C.so", "build.json"


@dataclass(frozen=True)
class Record:
    """What a build wrote beside its library; whoever loads it checks this first."""

    torch: str
    abi: str
    sources: str
    size: int
    needs: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        """Raises ValueError on anything else than a record."""
        try:
            value = json.loads(path.read_text())
            return cls(
                torch=value["torch"],
                abi=value["abi"],
                sources=value["sources"],
                size=value["size"],
                needs=tuple(value["needs"]),
            )
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as e:
            raise ValueError(f"{path} is not a record of a build") from e


def abi() -> str:
    """Python's binary interface, such as ``cpython-311-x86_64-linux-gnu``."""
    return str(sysconfig.get_config_var("SOABI") or platform.python_implementation())


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this processor, as far as the system tells."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            for line in lines:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def directory() -> Path:
    """The per-user cache of compiled libraries: `kernels` in $GENTOOL_CACHE or ~/.cache/gentool."""
    if named := os.environ.get("GENTOOL_CACHE"):
        return Path(named).expanduser() / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "gentool" / "kernels"


def key() -> str:
    """What a library depends on: the sources, torch, Python's ABI, the processor."""
    parts = [sources.digest(sources.root()), torch.__version__, abi(), platform.machine()]
    parts += sorted(cpu_flags())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
