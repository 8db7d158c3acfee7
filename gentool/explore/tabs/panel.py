"""What answers for the panels of other packages; the page draws their controls and results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.explore import places
from gentool.explore.panels import find, function_of, panels
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab
from gentool.explore.wire import Answer, Ask
from gentool.model import CAPABILITIES
from gentool.render.grid import to_pixels
from gentool.spec import Control, PanelInfo

MOST_VALUES = 2**24
"""Numbers in the pictures of one answer."""


def known(subject: Subject, ask: Ask) -> Answer:
    """The panels that fit a run."""
    fitting = [info for info in panels() if _fits(subject, info)]
    return Answer({"panels": [dataclasses.asdict(info) for info in fitting]})


def _fits(subject: Subject, info: PanelInfo) -> bool:
    if subject.loaded is None or subject.model.header.data.kind not in info.data:
        return False
    protocol = CAPABILITIES.get(info.needs)
    return protocol is None or isinstance(subject.model.model, protocol)


def show(subject: Subject, ask: Ask) -> Answer:
    """What a panel's function makes of its controls."""
    info = find(ask.text("panel"))
    if not _fits(subject, info):
        raise UserError(f"the panel {info.name} does not fit this run")
    values = ask.within("values")
    state = {one.name: _value(subject, one, values) for one in info.controls}
    found = function_of(info)(subject.model, state)
    if not isinstance(found, Mapping):
        raise UserError(f"the panel {info.name} gave no dict of pictures and numbers")
    shown: list[dict[str, Any]] = []
    parts: list[np.ndarray] = []
    for name, value in found.items():
        entry = {"name": printable(str(name), 80)}
        if isinstance(value, bool | int | float | str):
            shown.append({**entry, "value": value if not isinstance(value, str) else value[:2000]})
            continue
        pictures = _pictures(info, value)
        shown.append({**entry, "pictures": len(pictures)})
        parts += list(pictures)
    if sum(part.size for part in parts) > MOST_VALUES:
        raise UserError(f"the panel {info.name} gave more pictures than a page can show")
    return Answer({"shown": shown}, parts)


def _value(subject: Subject, control: Control, values: Ask) -> Any:
    if control.kind == "point":
        point = values.within(control.name) if control.name in values else Ask({"seed": 0})
        return places.place(subject, point).z
    if control.kind == "choice":
        return values.choice(control.name, control.choices, str(control.default))
    default = float(control.default)
    found = values.number(control.name, control.low, control.high, default)
    return round(found) if control.kind == "whole" else found


def _pictures(info: PanelInfo, value: Any) -> np.ndarray:
    """uint8 (N, C, H, W) of one or several pictures in [0, 1]."""
    x = value.detach().float().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    x = x[None] if x.ndim == 3 else x
    sound = x.ndim == 4 and x.shape[1] in (1, 3) and x.dtype.kind in "fu" and math.prod(x.shape) > 0
    if not sound:
        raise UserError(
            f"the panel {info.name} gave an array of shape {tuple(x.shape)}; pictures are "
            "(C, H, W) or (N, C, H, W) with 1 or 3 channels, in [0, 1] or uint8"
        )
    return x if x.dtype == np.uint8 else to_pixels(x)


TAB = Tab("panel", lambda subject: False, {}, {"known": known, "show": show})
"""No tab of its own: each panel is one."""
