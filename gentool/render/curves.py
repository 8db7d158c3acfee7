"""The loss curves of a run as one PNG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gentool.files import written_aside

# Bookkeeping of a metrics row; everything else in it is a curve.
NOT_CURVES = frozenset({"epoch", "step", "split", "examples_per_s", "warning"})


def collect(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Group metrics rows into ``{scalar: {split: [(step, value), …]}}``."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            if name in NOT_CURVES or not isinstance(value, int | float) or isinstance(value, bool):
                continue
            points = curves.setdefault(name, {}).setdefault(str(row.get("split", "")), [])
            points.append((int(row["step"]), float(value)))
    return curves


def save_curves(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw every scalar of `metrics.jsonl` over the step, one panel each, train beside test."""
    curves = collect(rows)
    if not curves:
        return
    columns = min(3, len(curves))
    lines = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * lines), dpi=100, layout="constrained")
    for i, (name, splits) in enumerate(curves.items()):
        axes = figure.add_subplot(lines, columns, i + 1)
        for split, points in splits.items():
            marker = "o" if len(points) < 30 else ""
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=3, label=split)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    with written_aside(Path(path)) as aside:
        FigureCanvasAgg(figure).print_png(aside, metadata={"Software": None})
