"""Points as a picture: samples over the real data; a histogram in one dimension."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gentool.files import opened_for

REAL, FAKE, SCORE = "#7b8794", "#d1495b", "#1f6f8b"
FIELD = "PuOr"
LEVELS = 11
"""Contours of a field, so that its shape is seen where the colours are pale."""


@dataclass(frozen=True)
class Landscape:
    """What a model thinks of every place.

    Attributes:
        field: its values: (rows, columns), bottom row first, or (columns,) along a line.
        frame: (left, right), and (bottom, top) in the plane.
        label: what the values are.
        ends: of the scale.
        middle: a value whose contour is drawn.
    """

    field: np.ndarray
    frame: tuple[tuple[float, float], ...]
    label: str
    ends: tuple[float, float]
    middle: float | None = None


def frame_of(reference: np.ndarray) -> tuple[tuple[float, float], ...]:
    """What a picture of points (N, D) shows: an interval, or a square of the first two axes."""
    low, high = reference[:, :2].min(axis=0), reference[:, :2].max(axis=0)
    half = 0.6 * float((high - low).max() or 1.0)
    return tuple((float(c) - half, float(c) + half) for c in (low + high) / 2)


def save_scatter(points: np.ndarray, target: Path | BinaryIO, **details: Any) -> None:
    """Write what `draw_scatter` draws as a PNG: atomically to a path, or to an open file."""
    figure = draw_scatter(points, **details)
    with opened_for(target) as file:
        print_png(figure, file)


def print_png(figure: Figure, file: IO[bytes]) -> None:
    """No software name in the file: equal runs give equal bytes."""
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def draw_scatter(
    points: np.ndarray,
    *,
    real: np.ndarray | None = None,
    title: str = "",
    landscape: Landscape | None = None,
) -> Figure:
    """Draw points (N, D): D = 1 as a histogram, else the first two coordinates.

    Args:
        real: points of the data set to draw behind, (M, D).
        landscape: drawn behind everything: a field in the plane, a curve over a line.
    """
    figure = Figure(figsize=(6.1 if landscape else 5, 5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    frame = frame_of(points if real is None else real)
    axes.set_xlim(*frame[0])
    handles: list[Any] = []
    if len(frame) == 1:
        _histograms(axes, points, real, frame[0])
        if landscape is not None:
            handles = _curve(axes, landscape)
    else:
        if landscape is not None:
            handles = _field(figure, axes, landscape)
        if real is not None:
            axes.scatter(real[:, 0], real[:, 1], s=3, color=REAL, linewidths=0, label="data")
        axes.scatter(points[:, 0], points[:, 1], s=3, color=FAKE, linewidths=0, label="samples")
        axes.set_ylim(*frame[1])
        axes.set_aspect("equal")
    if real is not None or handles:
        shown = [*axes.get_legend_handles_labels()[0], *handles]
        axes.legend(handles=shown, loc="upper right", fontsize=8, markerscale=3)
    if title:
        axes.set_title(title, fontsize=10)
    return figure


def _histograms(
    axes: Axes, points: np.ndarray, real: np.ndarray | None, ends: tuple[float, float]
) -> None:
    bins = np.linspace(*ends, 80).tolist()
    if real is not None:
        axes.hist(real[:, 0], bins=bins, density=True, color=REAL, alpha=0.7, label="data")
    axes.hist(points[:, 0], bins=bins, density=True, histtype="step", color=FAKE, label="samples")
    axes.set_xlabel("x", fontsize=9)
    axes.set_ylabel("density", fontsize=9)


def _curve(axes: Axes, landscape: Landscape) -> list[Any]:
    """The scores along the line, on an axis of their own at the right."""
    right = axes.twinx()
    at = np.linspace(*landscape.frame[0], len(landscape.field))
    right.plot(at, landscape.field, color=SCORE, linewidth=1.5)
    low, high = landscape.ends
    right.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    right.set_ylabel(landscape.label, fontsize=9, color=SCORE)
    right.tick_params(labelsize=8, colors=SCORE)
    handles = [Line2D([], [], color=SCORE, linewidth=1.5, label=landscape.label)]
    if landscape.middle is not None:
        right.axhline(landscape.middle, color=SCORE, linewidth=0.8, linestyle="--")
        handles.append(_middle_line(landscape, SCORE))
    return handles


def _field(figure: Figure, axes: Axes, landscape: Landscape) -> list[Any]:
    """The scores over the plane as colours, with a bar that tells them, and contours."""
    (left, right), (bottom, top) = landscape.frame
    low, high = landscape.ends
    drawn = axes.imshow(
        landscape.field,
        extent=(left, right, bottom, top),
        origin="lower",
        cmap=FIELD,
        vmin=low,
        vmax=high,
        alpha=0.75,
    )
    least, most = float(landscape.field.min()), float(landscape.field.max())
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    extend = beyond.get((least < low, most > high), "neither")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.82, extend=extend)
    bar.set_label(landscape.label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    x = np.linspace(left, right, landscape.field.shape[1])
    y = np.linspace(bottom, top, landscape.field.shape[0])
    if most > least:
        thin: dict[str, Any] = {"colors": "black", "linewidths": 0.4, "alpha": 0.35}
        axes.contour(x, y, landscape.field, levels=LEVELS, negative_linestyles="solid", **thin)
    if landscape.middle is None or not least < landscape.middle < most:
        return []
    axes.contour(x, y, landscape.field, levels=[landscape.middle], colors="black", linewidths=1.4)
    return [_middle_line(landscape, "black")]


def _middle_line(landscape: Landscape, colour: str) -> Line2D:
    assert landscape.middle is not None
    shown = "½" if landscape.middle == 0.5 else f"{landscape.middle:g}"
    style: Any = "--" if landscape.field.ndim == 1 else "-"
    label = f"{landscape.label} = {shown}"
    return Line2D([], [], color=colour, linewidth=1.4, linestyle=style, label=label)
