"""Many images as one PNG: what people look at first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from gentool.files import opened_for


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


@dataclass(frozen=True)
class Sheet:
    """Images laid out row by row, black where none has been placed.

    Attributes:
        shape: of the pixels, (C, rows·(H+pad)+pad, columns·(W+pad)+pad).
        size: (H, W) of one image.
        columns: images a row.
        pad: pixels of black between and around the images.
    """

    shape: tuple[int, int, int]
    size: tuple[int, int]
    columns: int
    pad: int

    @classmethod
    def of(cls, n: int, shape: Sequence[int], columns: int | None = None, pad: int = 2) -> Sheet:
        """An empty sheet for n images of shape (C, H, W); near-square by default."""
        channels, height, width = shape
        columns = columns or max(1, math.ceil(math.sqrt(n)))
        rows = max(1, math.ceil(n / columns))
        whole = (channels, rows * (height + pad) + pad, columns * (width + pad) + pad)
        return cls(whole, (height, width), columns, pad)

    @property
    def values(self) -> int:
        """Pixels times channels; nothing has been allocated before `pixels` is asked for."""
        return math.prod(self.shape)

    @cached_property
    def pixels(self) -> np.ndarray:
        return np.zeros(self.shape, dtype=np.uint8)

    def place(self, cell: int, image: np.ndarray) -> None:
        """Put a uint8 image (C, H, W) into a cell, counted row by row."""
        row, column = divmod(cell, self.columns)
        height, width = self.size
        top, left = self.pad + row * (height + self.pad), self.pad + column * (width + self.pad)
        self.pixels[:, top : top + height, left : left + width] = image

    def image(self, smallest: int = 256) -> Image.Image:
        """The sheet as a picture, magnified by a whole factor to at least `smallest` pixels."""
        image = to_image(self.pixels)
        factor = max(1, math.ceil(smallest / max(image.size)))
        if factor > 1:
            larger = (image.width * factor, image.height * factor)
            image = image.resize(larger, Image.Resampling.NEAREST)
        return image


def grid_image(x: np.ndarray, columns: int | None = None, smallest: int = 256) -> Image.Image:
    """uint8 images (N, C, H, W) as one picture; see `Sheet`."""
    sheet = Sheet.of(len(x), x.shape[1:], columns)
    for cell, image in enumerate(x):
        sheet.place(cell, image)
    return sheet.image(smallest)


def save_grid(x: np.ndarray, target: Path | BinaryIO, columns: int | None = None) -> None:
    """Write uint8 images (N, C, H, W) as one PNG: atomically to a path, or to an open file."""
    with opened_for(target) as file:
        grid_image(x, columns).save(file, format="PNG", optimize=False)
