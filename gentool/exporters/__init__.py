"""Formats that ``gentool export`` writes. Each one is a plugin's; this is only their table.

Nothing here imports torch: a format names its function as a string.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from gentool.checkpoints import run_of
from gentool.errors import UserError, nearest, printable
from gentool.hooks import collect
from gentool.spec import ExporterInfo

if TYPE_CHECKING:
    from gentool.loading import LoadedModel
    from gentool.runs import Run

__all__ = ["Export", "ExporterInfo", "exporters", "find", "pusher", "register", "run"]


@dataclass(frozen=True)
class Export:
    """What an exporter is to do.

    Attributes:
        loaded: the trained model, on the CPU in eval mode, and what its file says of it.
        file: the ``model.safetensors`` it came from.
        run: the run it belongs to; None for a lone file.
        out: the file or folder to write; a file's suffix is the format's.
        fp32: keep weights in float32 where the format would store fewer bits.
        licence: under what the model is handed on, for a format that says so; "" where nobody did.
        notes: sentences for the person, which the exporter may add to.
    """

    loaded: LoadedModel
    file: Path
    run: Run | None
    out: Path
    fp32: bool = False
    licence: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def of_checkpoint(self) -> bool:
        """Whether `file` is a checkpoint's, whose weights have no header that describes them."""
        return run_of(self.file) is not None


_EXPORTERS: dict[str, ExporterInfo] = {}


def register(exporter: ExporterInfo) -> None:
    """Add a format; a taken name raises ValueError, so the one that came first stays."""
    if exporter.name in _EXPORTERS:
        raise ValueError(f"an export format named {exporter.name!r} is registered already")
    _EXPORTERS[exporter.name] = exporter


def exporters() -> list[ExporterInfo]:
    """Every format of every installed plugin."""
    collect("gentool_exporters", register)
    return list(_EXPORTERS.values())


def find(out: Path, name: str | None) -> ExporterInfo:
    """The format called `name`, or the first whose suffix `out` has; raises UserError."""

    def fits() -> ExporterInfo | None:
        if name is not None:
            return _EXPORTERS.get(name)
        return next((e for e in _EXPORTERS.values() if e.suffix == out.suffix), None)

    collect("gentool_exporters", register, name or out.suffix[1:], lambda: fits() is not None)
    found = fits()
    if found is None:
        known = ", ".join(f"{e.name} ({e.suffix or 'a folder'})" for e in _EXPORTERS.values())
        asked = f"--format {printable(name)!r}" if name else f"the ending of {printable(str(out))}"
        close = nearest(name, _EXPORTERS) if name else ""
        raise UserError(f"{asked} is no format that is installed{close}; there are {known}")
    return found


def run(exporter: ExporterInfo, job: Export) -> None:
    """Call the format's function."""
    function: Callable[[Export], None] = resolve_name(exporter.function)
    function(job)


def pusher(exporter: ExporterInfo) -> Callable[[Export, str], str]:
    """What sends an export to where others find it; raises UserError where there is none."""
    if not exporter.push:
        others = ", ".join(e.name for e in _EXPORTERS.values() if e.push) or "none"
        raise UserError(
            f"the format {exporter.name} is not pushed anywhere; those that are: {others}"
        )
    function: Callable[[Export, str], str] = resolve_name(exporter.push)
    return function
