"""Curves of several runs in one picture: a line a run, or a mean with a band a group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gentool.compare.groups import Group
from gentool.compare.read import Member, Point, curve
from gentool.errors import UserError, printable
from gentool.files import opened_for

MOST_LINES = 20
UNITS = {"step": "step", "epoch": "epoch", "time": "seconds of training"}


def draw(
    groups: Sequence[Group],
    metrics: Sequence[str],
    target: Path | BinaryIO,
    *,
    x: str = "step",
    split: str | None = None,
) -> None:
    """A panel a metric. A group of several runs is its mean, with a band of ± one deviation.

    Metrics that have no curve, such as those of evaluations, are left out; raises UserError where
    none is left.
    """
    known = [m for m in metrics if any(curve(r, m, x, split) for g in groups for r in g.members)]
    if not known:
        raise UserError("none of these numbers has a curve in metrics.jsonl; give other --metric")
    columns = min(3, len(known))
    lines = math.ceil(len(known) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * lines), dpi=120, layout="constrained")
    for i, metric in enumerate(known):
        axes = figure.add_subplot(lines, columns, i + 1)
        for number, one in enumerate(groups[:MOST_LINES]):
            colour = colormaps["tab10" if len(groups) <= 10 else "tab20"](number % 20)
            _line(axes, one, [curve(r, metric, x, split) for r in one.members], colour)
        axes.set_title(printable(metric, 60), fontsize=10, parse_math=False)
        axes.set_xlabel(UNITS[x], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if i == 0 and len(groups) > 1:
            for text in axes.legend(fontsize=7).get_texts():
                text.set_parse_math(False)
    with opened_for(target) as file:
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def _line(axes: Axes, one: Group, curves: Sequence[Sequence[Point]], colour: Any) -> None:
    curves = [c for c in curves if c]
    if not curves:
        return
    places, means, deviations = band(curves)
    count = f" (n={len(curves)})" if len(curves) > 1 else ""
    marker = "o" if len(places) < 30 else ""
    label = printable(one.label, 60).lstrip("_") + count
    axes.plot(places, means, color=colour, marker=marker, markersize=3, label=label)
    if len(curves) > 1:
        low, high = means - deviations, means + deviations
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)


Line = npt.NDArray[np.float64]


def band(curves: Sequence[Sequence[Point]]) -> tuple[Line, Line, Line]:
    """Places, means and sample deviations of several curves.

    At the places of the first curve within what all of them cover; in between, curves are straight.
    """
    first, last = max(c[0][0] for c in curves), min(c[-1][0] for c in curves)
    places = np.array([p for p, _ in curves[0] if first <= p <= last] or [curves[0][-1][0]])
    table = np.stack([np.interp(places, [x for x, _ in c], [y for _, y in c]) for c in curves])
    spread = table.std(0, ddof=1) if len(curves) > 1 else np.zeros(len(places))
    return places, table.mean(0), spread


def singles(members: Sequence[Member]) -> list[Group]:
    """Each run as a line of its own, by its name."""
    return [Group({}, [one]) for one in members]
