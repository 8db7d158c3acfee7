"""Plots of the plane: pairs of points with lines, walks, and the map of a 2-D latent space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure

from gentool.files import written_aside
from gentool.render.grid import Sheet
from gentool.render.scatter import FAKE, REAL, print_png

MOST_COLOURS = 20


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with written_aside(Path(path)) as aside, aside.open("wb") as file:
        print_png(figure, file)


def draw_pairs(x: np.ndarray, again: np.ndarray) -> Figure:
    """Points (N, D) and their reconstructions, joined by lines; D = 1 as one against the other."""
    figure = Figure(figsize=(5, 5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    if x.shape[1] == 1:
        axes.scatter(x[:, 0], again[:, 0], s=8, color=FAKE, linewidths=0)
        axes.axline((float(x.mean()), float(x.mean())), slope=1, color=REAL, linewidth=1)
        axes.set_xlabel("x")
        axes.set_ylabel("reconstruction")
        return figure
    for a, b in zip(x, again, strict=True):
        axes.plot([a[0], b[0]], [a[1], b[1]], color=REAL, linewidth=0.8, zorder=1)
    axes.scatter(x[:, 0], x[:, 1], s=12, color=REAL, linewidths=0, label="x", zorder=2)
    axes.scatter(
        again[:, 0], again[:, 1], s=8, color=FAKE, linewidths=0, label="reconstruction", zorder=3
    )
    axes.set_aspect("equal", "datalim")
    axes.legend(loc="upper right", fontsize=8, markerscale=2)
    return figure


def draw_paths(paths: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Walks (M, D) in data space, a line each; D = 1 over the step."""
    figure = Figure(figsize=(5, 5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for path, title in zip(paths, titles, strict=True):
        if path.shape[1] == 1:
            axes.plot(path[:, 0], marker="o", markersize=3, label=title)
        else:
            axes.plot(path[:, 0], path[:, 1], marker="o", markersize=3, label=title)
    if paths[0].shape[1] > 1:
        axes.set_aspect("equal", "datalim")
    axes.legend(fontsize=8)
    return figure


def normal_lattice(n: int) -> np.ndarray:
    """n×n latents at the same quantiles of N(0, 1) on both axes, top row first: (n·n, 2)."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
    return np.array([[x, y] for y in reversed(quantiles) for x in quantiles], np.float32)


def box_lattice(n: int, low: float, high: float) -> np.ndarray:
    """n×n latents, evenly over a box, top row first: (n·n, 2)."""
    at = [low + (high - low) * (i + 0.5) / n for i in range(n)]
    return np.array([[x, y] for y in reversed(at) for x in at], np.float32)


def draw_map(
    z: np.ndarray,
    labels: np.ndarray | None,
    names: Sequence[str],
    manifold: np.ndarray,
    lattice: np.ndarray,
) -> Figure:
    """The latent plane: encoded examples by label, beside what a lattice of latents becomes.

    Args:
        z: (N, 2) encodings.
        labels: int (N,), or None.
        manifold: uint8 images (n·n, C, H, W) of the lattice, or points (n·n, D).
        lattice: (n·n, 2), where they are.
    """
    figure = Figure(figsize=(10.4, 5.2), dpi=100, layout="constrained")
    axes = figure.add_subplot(1, 2, 1)
    axes.set_title("test data, encoded", fontsize=10)
    if labels is None or len(names) > MOST_COLOURS:
        axes.scatter(z[:, 0], z[:, 1], s=3, color=FAKE, linewidths=0)
    else:
        for k, name in enumerate(names):
            mine, colour = z[labels == k], f"C{k}" if k < 10 else None
            axes.scatter(mine[:, 0], mine[:, 1], s=3, linewidths=0, color=colour, label=name)
        axes.legend(fontsize=7, markerscale=4, loc="upper right")
    low, high = lattice.min(0), lattice.max(0)
    corner = (
        [low[0], high[0], high[0], low[0], low[0]],
        [low[1], low[1], high[1], high[1], low[1]],
    )
    axes.plot(*corner, color="black", linewidth=0.8)
    axes.set_xlabel("z₁", fontsize=9)
    axes.set_ylabel("z₂", fontsize=9)
    axes.set_aspect("equal", "datalim")
    right = figure.add_subplot(1, 2, 2)
    right.set_title("the box's latents, decoded", fontsize=10)
    if manifold.ndim == 4:
        sheet = Sheet.of(len(manifold), manifold.shape[1:], round(len(manifold) ** 0.5), pad=0)
        for cell, image in enumerate(manifold):
            sheet.place(cell, image)
        right.imshow(sheet.pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
        right.axis("off")
    else:
        second = manifold[:, 1] if manifold.shape[1] > 1 else np.zeros(len(manifold))
        right.scatter(manifold[:, 0], second, s=6, c=lattice[:, 0], linewidths=0)
        right.set_aspect("equal", "datalim")
    return figure
