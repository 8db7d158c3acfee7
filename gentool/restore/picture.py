"""The picture of a restoration: a row an image, from what was given to how sure the answer is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from gentool.render.grid import to_pixels
from gentool.render.sheet import draw_sheet
from gentool.restore.restoration import Restoration

COOLEST = 0.02
"""A largest deviation below this is not stretched to the whole range of colours."""


def draw_restoration(
    found: Restoration, truth: Tensor | None, titles: Sequence[str], rows: int
) -> Image.Image:
    """What was given, the restorations, their mean and deviation; the truth last, where known.

    Args:
        truth: (N, C, H, W).
        titles: a few characters an image.
        rows: images to draw, at most.
    """
    shown = min(rows, len(found))
    hottest = max(COOLEST, float(found.std[:shown].max()))
    channels = found.mean.shape[1]
    table: list[list[np.ndarray | None]] = []
    for i in range(shown):
        row: list[np.ndarray | None] = [_pixels(found.preview[i])]
        row += [_pixels(one) for one in found.samples[i]]
        if found.draws is not None:
            row += [_pixels(found.mean[i]), heat(found.std[i], hottest)]
        if truth is not None:
            row.append(_pixels(truth[i]))
        table.append(row)
    count = found.samples.shape[1]
    columns = ["given"]
    columns += ["restored", *[""] * (count - 1)] if found.draws is not None else ["most likely"]
    columns += ["mean", f"deviation to {hottest:.2f}"] if found.draws is not None else []
    columns += ["truth"] if truth is not None else []
    if channels not in (1, 3):
        table = [[None if cell is None else cell[:1] for cell in row] for row in table]
    return draw_sheet(table, columns=columns, titles=list(titles[:shown]))


def _pixels(x: Tensor) -> np.ndarray:
    pixels: np.ndarray = to_pixels(x[None].numpy())[0]
    return pixels


def heat(std: Tensor, hottest: float) -> np.ndarray:
    """A deviation (C, H, W), the largest of the channels, as colours from 0 to `hottest`:
    uint8 (3, H, W)."""
    level = (std.amax(0) / hottest).clamp(0, 1).numpy()
    colours = colormaps["inferno"](level)[..., :3]
    return np.ascontiguousarray(np.rint(255 * colours).astype(np.uint8).transpose(2, 0, 1))
