"""Data that a run was trained on and that is at hand without reading any file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np

from gentool.data.loading import load
from gentool.data.options import DataOptions
from gentool.data.registry import sources
from gentool.errors import UserError
from gentool.runs import Run
from gentool.spec import DataSpec

SHOWN = 2500


def points_of(run: Run, spec: DataSpec) -> np.ndarray | None:
    """Some of the built-in points that a run was trained on, (M, D); None for any other data.

    A run may come from a stranger, so nothing that it names is opened.
    """
    if spec.kind != "points":
        return None
    with contextlib.suppress(UserError):
        asked: Any = run.read_config().get("data_options")
        name = str(asked.get("data")) if isinstance(asked, dict) else ""
        name = name.partition(":")[0]
        if name in {s.name for s in sources() if s.kind == "built-in" and s.counted}:
            found = load(replace(DataOptions(), data=f"{name}:{SHOWN}"), lambda *_: None)
            if (found.spec.kind, found.spec.shape) == (spec.kind, spec.shape):
                return np.asarray(found.train.x)
    return None
