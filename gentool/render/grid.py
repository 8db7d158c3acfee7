"""Many images as one PNG: what people look at first."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from gentool.files import written_aside


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as uint8, rounded to nearest; NaN becomes 0, values outside are clipped.

    Args:
        x: float (N, C, H, W).

    Returns:
        uint8 of the same shape.
    """
    shades = np.clip(np.nan_to_num(x, nan=0.0), 0.0, 1.0) * 255.0
    pixels: np.ndarray = np.rint(shades).astype(np.uint8)
    return pixels


def to_image(x: np.ndarray) -> Image.Image:
    """One uint8 image (C, H, W) as a Pillow image: C = 1 is grey, 3 RGB; else channel 0 alone."""
    if x.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(x.transpose(1, 2, 0)))
    return Image.fromarray(np.ascontiguousarray(x[0]))


def make_grid(x: np.ndarray, columns: int | None = None, pad: int = 2) -> np.ndarray:
    """Lay uint8 images (N, C, H, W) out row by row.

    Args:
        columns: images a row; near-square by default.
        pad: pixels of black between and around the images.

    Returns:
        uint8 (C, rows·(H+pad)+pad, columns·(W+pad)+pad).
    """
    n, c, h, w = x.shape
    columns = columns or max(1, math.ceil(math.sqrt(n)))
    rows = max(1, math.ceil(n / columns))
    sheet = np.zeros((c, rows * (h + pad) + pad, columns * (w + pad) + pad), dtype=np.uint8)
    for i in range(n):
        top, left = pad + (i // columns) * (h + pad), pad + (i % columns) * (w + pad)
        sheet[:, top : top + h, left : left + w] = x[i]
    return sheet


def grid_image(x: np.ndarray, columns: int | None = None, smallest: int = 256) -> Image.Image:
    """The grid as a picture, magnified by a whole factor to at least `smallest` pixels."""
    image = to_image(make_grid(x, columns))
    factor = max(1, math.ceil(smallest / max(image.size)))
    if factor > 1:
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    return image


def save_grid(x: np.ndarray, path: Path, columns: int | None = None) -> None:
    """Write uint8 images (N, C, H, W) as one PNG, atomically."""
    with written_aside(Path(path)) as aside:
        grid_image(x, columns).save(aside, format="PNG", optimize=False)
