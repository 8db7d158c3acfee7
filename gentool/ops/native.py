"""Loads the compiled kernels, once, when `gentool.ops` is imported; never compiles.

Two places are looked at: the package itself (a build ahead of time, `gentool/_C…so`) and the
per-user cache that ``gentool kernels build`` fills. What is stale or broken is passed over with
one warning, and everything runs on the reference.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch

from gentool.ops import cache, sources

BUILD = "gentool kernels build"


@dataclass(frozen=True)
class Status:
    """What is loaded; where nothing is, why, and the command that mends it."""

    path: Path | None = None
    devices: tuple[str, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)
    reason: str = ""
    remedy: str = ""


def serves(device_type: str) -> bool:
    """Whether native kernels run on this type of device ("cpu", "cuda")."""
    return device_type in _devices


def status() -> Status:
    """The outcome of loading."""
    return _status


def _load() -> Status:
    if os.environ.get("GENTOOL_KERNELS", "").lower() in ("off", "0", "no", "false"):
        return Status(reason="GENTOOL_KERNELS=off", remedy="unset GENTOOL_KERNELS")
    problems: list[str] = []
    for library, record in _candidates():
        try:
            _check(library, record)
            return _describe(library, _import(library))
        except (ImportError, OSError, ValueError) as e:
            problems.append(f"{library}: {e}".splitlines()[0])
    if not problems and _other_builds():
        problems.append(
            "the cached build is of another torch, Python, processor or state of the sources"
        )
    if problems:
        reason = "; ".join(problems)
        warnings.warn(
            f"native kernels not loaded, using plain torch: {reason}; run: {BUILD}", stacklevel=2
        )
        return Status(reason=reason, remedy=BUILD)
    return Status(reason="no library has been built", remedy=BUILD)


def _candidates() -> Iterator[tuple[Path, Path]]:
    package = Path(__file__).resolve().parent.parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (package / f"_C{suffix}").exists():
            yield package / f"_C{suffix}", package / "_C.json"
    place = cache.directory() / cache.key()
    if place.exists():
        yield place / cache.LIBRARY, place / cache.RECORD


def _other_builds() -> bool:
    try:
        return any(p.is_dir() and p.name[0] != "." for p in cache.directory().iterdir())
    except OSError:
        return False


def _check(library: Path, record_path: Path) -> None:
    """Raises ValueError or OSError if the library must not be loaded here."""
    record, info = cache.Record.read(record_path), library.stat()
    if record.torch != torch.__version__:
        raise ValueError(f"built for torch {record.torch}, this is {torch.__version__}")
    if record.abi != cache.abi():
        raise ValueError(f"built for {record.abi}, this is {cache.abi()}")
    if record.sources != sources.digest(sources.root()):
        raise ValueError("built from other sources")
    if record.size != info.st_size:  # loading a truncated library can kill the process
        raise ValueError(f"{info.st_size} bytes long, expected {record.size}")
    missing = set(record.needs) - cache.cpu_flags()
    if missing and cache.cpu_flags():
        raise ValueError(f"needs a processor with {', '.join(sorted(missing))}")
    if hasattr(os, "getuid") and (info.st_uid not in (0, os.getuid()) or info.st_mode & 0o002):
        raise ValueError("belongs to another user, or anyone may write to it")


def _import(library: Path) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader("gentool._C", str(library))
    spec = importlib.util.spec_from_file_location("gentool._C", library, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["gentool._C"] = module
    return module


def _describe(library: Path, module: ModuleType) -> Status:
    facts = {k: v for k, v in sorted(vars(module).items()) if not k.startswith("_")}
    facts["source_directory"] = str(sources.root())
    return Status(library, tuple(module.devices), facts)


_status = _load()
_devices = frozenset(_status.devices)
