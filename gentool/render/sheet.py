"""Images in a table with words: titles over columns and before rows, a caption below each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gentool.errors import printable
from gentool.files import written_aside
from gentool.render.grid import to_image

LARGE = 72
"""Images are magnified by a whole factor until their longer side has as many pixels."""

PAD, LINE = 4, 13
_INK, _PALE, _PAPER = "#1f2933", "#6b7785", "white"


def draw_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    titles: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Image.Image:
    """The table as a picture.

    Args:
        rows: uint8 images (C, H, W) of one size, row by row; None leaves a place empty.
        captions: a line below each image.
        titles: a line before each row.
        columns: a line over each column.
    """
    first = next(cell for row in rows for cell in row if cell is not None)
    factor = max(1, math.ceil(LARGE / max(first.shape[1:])))
    height, width = (n * factor for n in first.shape[1:])
    font = _font()
    margin = max((_width(font, t) for t in titles), default=0) + (2 * PAD if titles else 0)
    top = LINE + PAD if columns else 0
    below = LINE if captions is not None else 0
    across = max(len(row) for row in rows)
    size = (
        margin + across * (width + PAD) + PAD,
        top + len(rows) * (height + below + PAD) + PAD,
    )
    page = Image.new("RGB", size, _PAPER)
    ink = ImageDraw.Draw(page)
    for j, text in enumerate(columns):
        _centred(ink, text, margin + PAD + j * (width + PAD) + width / 2, 2, width, font)
    for i, row in enumerate(rows):
        y = top + PAD + i * (height + below + PAD)
        if i < len(titles):
            ink.text((PAD, y + height / 2 - LINE / 2), _plain(titles[i]), _INK, font)
        for j, cell in enumerate(row):
            x = margin + PAD + j * (width + PAD)
            if cell is not None:
                image = to_image(cell).resize((width, height), Image.Resampling.NEAREST)
                page.paste(image.convert("RGB"), (x, y))
            if captions is not None and j < len(captions[i]):
                _centred(ink, captions[i][j], x + width / 2, y + height, width, font)
    return page


def save_sheet(path: Path, page: Image.Image) -> None:
    """Write a picture as PNG, atomically."""
    with written_aside(Path(path)) as aside:
        page.save(aside, format="PNG")


def _centred(
    ink: ImageDraw.ImageDraw,
    text: str,
    x: float,
    y: float,
    most: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """A line about x, cut to `most` pixels."""
    text = _plain(text)
    while text and _width(font, text) > most + PAD:
        text = text[:-1]
    ink.text((x - _width(font, text) / 2, y), text, _PALE, font)


def _width(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return round(font.getlength(_plain(text)))


def _plain(text: str) -> str:
    """What Pillow's fonts can draw on one line."""
    return printable(text, 60).encode("latin-1", "replace").decode("latin-1")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size=10)
    except (ImportError, OSError, TypeError):  # a Pillow without FreeType
        return ImageFont.load_default()
