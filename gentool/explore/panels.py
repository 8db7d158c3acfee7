"""Panels that other packages bring: controls, and a function from these to pictures or numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from gentool import hooks
from gentool.errors import UserError, nearest, printable
from gentool.spec import PanelInfo

_PANELS: dict[str, PanelInfo] = {}


def panels() -> list[PanelInfo]:
    """Every panel that is installed."""
    hooks.collect("gentool_panels", register)
    return list(_PANELS.values())


def register(info: PanelInfo) -> None:
    """Add a panel; the first of a name stays."""
    _PANELS.setdefault(info.name, info)


def find(name: str) -> PanelInfo:
    """A panel by its name; raises UserError."""
    if name not in _PANELS:
        panels()
    if name not in _PANELS:
        raise UserError(f"there is no panel {printable(name, 40)!r}{nearest(name, _PANELS)}")
    return _PANELS[name]


def function_of(info: PanelInfo) -> Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]:
    """The panel's code; raises UserError where it cannot be imported."""
    try:
        found: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] = resolve_name(info.function)
        return found
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"the panel's code {info.function} cannot be imported ({error}); reinstall the package "
            "it comes from"
        ) from error
