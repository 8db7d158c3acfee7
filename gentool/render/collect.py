"""The curves in the rows of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gentool.console import is_showable

# Bookkeeping of a metrics row; everything else in it is a curve.
NOT_CURVES = frozenset({"epoch", "step", "split", "examples_per_s", "warning"})


def collect(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Group metrics rows into ``{scalar: {split: [(step, value), …]}}``."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            if name in NOT_CURVES or not is_showable(value) or not is_showable(row.get("step")):
                continue
            points = curves.setdefault(name, {}).setdefault(str(row.get("split", "")), [])
            points.append((int(row["step"]), float(value)))
    return curves
