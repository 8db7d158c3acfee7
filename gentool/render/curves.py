"""The loss curves of a run as one PNG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gentool.errors import printable
from gentool.files import opened_for
from gentool.render.collect import collect

MOST_PANELS, MOST_SPLITS = 60, 8


def save_curves(rows: Iterable[Mapping[str, Any]], target: Path | BinaryIO) -> None:
    """Draw every scalar of `metrics.jsonl` over the step, one panel each, train beside test."""
    curves = dict(itertools.islice(collect(rows).items(), MOST_PANELS))
    if not curves:
        return
    columns = min(3, len(curves))
    lines = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * lines), dpi=100, layout="constrained")
    for i, (name, splits) in enumerate(curves.items()):
        axes = figure.add_subplot(lines, columns, i + 1)
        for split, points in itertools.islice(splits.items(), MOST_SPLITS):
            marker = "o" if len(points) < 30 else ""
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=3, label=split)
        axes.set_title(printable(name, 40), fontsize=10, parse_math=False)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            for text in axes.legend(fontsize=8).get_texts():
                text.set_parse_math(False)  # names are shown as they are, with $ or without
                text.set_text(printable(text.get_text(), 20))
    with opened_for(target) as file:
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
