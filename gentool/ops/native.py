"""Loads the compiled kernels, once, when `gentool.ops` is imported; never compiles.

Two places are looked at: the package itself (a build ahead of time, `gentool/_C…so`) and the
per-user cache that ``gentool kernels build`` fills. What is stale or broken is passed over with
one warning, and everything runs on the reference.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch

from gentool.ops import cache, sources
from gentool.ops.cpu import cpu_flags
from gentool.ops.private import opened_file, opened_folder

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
    for library, record, private in _candidates():
        try:
            with _checked(library, record, private) as descriptor:
                return _describe(library, _import(_by_descriptor(descriptor, library)))
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


def _candidates() -> Iterator[tuple[Path, str, bool]]:
    """A library, the name of its record, and whether its folder has to be the user's alone.

    The package's folder need not: whoever may write there may write to the package.
    """
    package = Path(__file__).resolve().parent.parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (package / f"_C{suffix}").exists():
            yield package / f"_C{suffix}", "_C.json", False
    for directory in cache.directories():
        place = directory / cache.key()
        if place.exists():
            yield place / cache.LIBRARY, cache.RECORD, True


def _other_builds() -> bool:
    for directory in cache.directories():
        with contextlib.suppress(OSError):
            if any(p.is_dir() and p.name[0] != "." for p in directory.iterdir()):
                return True
    return False


@contextmanager
def _checked(library: Path, record_name: str, private: bool) -> Iterator[int]:
    """The descriptor of a library that may be loaded here.

    Everything is looked at through descriptors, folder first, so that what was checked is what is
    loaded. Raises ValueError or OSError if the library must not be loaded.
    """
    with contextlib.ExitStack() as stack:
        if private:
            stack.enter_context(opened_folder(library.parent.parent))
            folder = stack.enter_context(opened_folder(library.parent))
            record_file = stack.enter_context(opened_file(folder, record_name))
            descriptor = stack.enter_context(opened_file(folder, library.name))
        else:
            record_file = os.open(library.parent / record_name, os.O_RDONLY)
            stack.callback(os.close, record_file)
            descriptor = os.open(library, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        _check(cache.Record.read(record_file), descriptor)
        yield descriptor


def _check(record: cache.Record, library: int) -> None:
    """Raises ValueError if an open library is not what its record says, or not for this machine."""
    if record.torch != torch.__version__:
        raise ValueError(f"built for torch {record.torch}, this is {torch.__version__}")
    if record.abi != cache.abi():
        raise ValueError(f"built for {record.abi}, this is {cache.abi()}")
    if record.sources != sources.digest(sources.root()):
        raise ValueError("built from other sources")
    missing = set(record.needs) - cpu_flags()
    if missing and cpu_flags():
        raise ValueError(f"needs a processor with {', '.join(sorted(missing))}")
    for capability in _capabilities() if record.targets else ():
        if not sources.covers(record.targets, capability):
            raise ValueError(
                f"no code for a GPU of compute capability {capability[0]}.{capability[1]}, "
                f"only for {record.targets}"
            )
    size = os.fstat(library).st_size
    if record.size != size:  # loading a damaged library can kill the process
        raise ValueError(f"{size} bytes long, expected {record.size}")
    if record.sha256 != cache.file_hash(library):
        raise ValueError("its content is not what was built")


def _capabilities() -> list[tuple[int, int]]:
    """The compute capability of each GPU that torch can use."""
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]


def _by_descriptor(descriptor: int, library: Path) -> Path:
    """A path to the open file itself, where the system has such paths; else the library's."""
    path = Path(f"/proc/self/fd/{descriptor}")
    return path if path.exists() else library


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
