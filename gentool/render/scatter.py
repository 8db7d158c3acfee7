"""Points as a picture: samples over the real data; a histogram in one dimension."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gentool.files import opened_for

REAL, FAKE = "#9aa5b1", "#d1495b"


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
    landscape: tuple[np.ndarray, tuple[float, float, float, float]] | None = None,
) -> Figure:
    """Draw points (N, D): D = 1 as a histogram, else the first two coordinates.

    Args:
        real: points of the data set to draw behind, (M, D).
        landscape: a scalar field (rows, columns), bottom row first, and its extent
            (left, right, bottom, top), drawn behind everything.
    """
    figure = Figure(figsize=(5, 5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    reference = points if real is None else real
    if landscape is not None:
        axes.imshow(landscape[0], extent=landscape[1], origin="lower", cmap="viridis", alpha=0.6)
    if points.shape[1] == 1:
        low, high = float(reference.min()), float(reference.max())
        bins = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 80).tolist()
        if real is not None:
            axes.hist(real[:, 0], bins=bins, density=True, color=REAL, label="data")
        axes.hist(
            points[:, 0], bins=bins, density=True, histtype="step", color=FAKE, label="samples"
        )
    else:
        if real is not None:
            axes.scatter(real[:, 0], real[:, 1], s=3, color=REAL, linewidths=0, label="data")
        axes.scatter(points[:, 0], points[:, 1], s=3, color=FAKE, linewidths=0, label="samples")
        centre = (reference[:, :2].max(axis=0) + reference[:, :2].min(axis=0)) / 2
        half = 0.6 * float(np.ptp(reference[:, :2], axis=0).max() or 1.0)
        axes.set_xlim(centre[0] - half, centre[0] + half)
        axes.set_ylim(centre[1] - half, centre[1] + half)
        axes.set_aspect("equal")
    if real is not None:
        axes.legend(loc="upper right", fontsize=8, markerscale=3)
    if title:
        axes.set_title(title, fontsize=10)
    return figure
