"""Pixels that are not there: y = m ⊙ x."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from gentool.data.decoding import decode
from gentool.errors import UserError, printable
from gentool.restore.operators.base import Operator

FORMS = (
    "center, left, right, top, bottom, random:SHARE such as random:0.5, box:LEFT,TOP,RIGHT,BOTTOM "
    "in pixels, or a mask.png that is white where pixels are missing"
)
HOLE = 0.5
"""The grey that stands for a missing pixel in a picture."""


class Missing(Operator):
    """Keeps the values where `seen` is True, and sets the others to 0."""

    def __init__(self, seen: Tensor, name: str = "missing") -> None:
        """
        Args:
            seen: bool, of the shape of one x.
        """
        self.seen, self.name = seen, name
        self.shape = self.out_shape = tuple(seen.shape)

    def __call__(self, x: Tensor) -> Tensor:
        # No product: 0 · NaN would let a missing value through.
        return torch.where(self.seen.to(x.device), x, torch.zeros((), dtype=x.dtype))

    @property
    def measured(self) -> Tensor:
        return self.seen

    @property
    def chooses(self) -> bool:
        return True

    def preview(self, y: Tensor) -> Tensor:
        return torch.where(self.seen.to(y.device), y, torch.full_like(y, HOLE)).clamp(0, 1)


def make(argument: str, shape: tuple[int, ...], seed: int) -> Missing:
    """What ``--missing ARGUMENT`` means for images of a shape (C, H, W); raises UserError."""
    if len(shape) != 3:
        raise UserError("--missing is for images, and this model makes points")
    _, height, width = shape
    hole = torch.zeros(height, width, dtype=torch.bool)
    name = f"missing {printable(Path(argument).name, 40)}"
    if (share := re.fullmatch(r"random:(.+)", argument)) is not None:
        hole = _random(share[1], height, width, seed)
    elif (sides := re.fullmatch(r"box:(.+)", argument)) is not None:
        left, top, right, bottom = _box(sides[1], height, width)
        hole[top:bottom, left:right] = True
    elif argument in ("center", "centre"):
        hole[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    elif argument in ("left", "right"):
        hole[:, slice(width // 2) if argument == "left" else slice(width // 2, None)] = True
    elif argument in ("top", "bottom"):
        hole[slice(height // 2) if argument == "top" else slice(height // 2, None)] = True
    else:
        hole = _read(Path(argument), height, width)
    return Missing(~hole.expand(shape), name)


def _random(text: str, height: int, width: int, seed: int) -> Tensor:
    try:
        share = float(text)
        if not 0 <= share <= 1:
            raise ValueError
    except ValueError:
        raise UserError(
            f"--missing random:{printable(text, 40)} names no share from 0 to 1; try random:0.5"
        ) from None
    count = round(share * height * width)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(height * width, generator=generator)[:count]
    hole = torch.zeros(height * width, dtype=torch.bool)
    hole[chosen] = True
    return hole.view(height, width)


def _box(text: str, height: int, width: int) -> tuple[int, int, int, int]:
    found = re.fullmatch(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})", text)
    box = tuple(map(int, found.groups())) if found else (0, 0, 0, 0)
    left, top, right, bottom = box
    if not (left < right <= width and top < bottom <= height):
        raise UserError(
            f"--missing box:{printable(text, 40)} is no box within {width}x{height} pixels; write "
            f"box:LEFT,TOP,RIGHT,BOTTOM, such as box:0,{height // 2},{width},{height}"
        )
    return left, top, right, bottom


def _read(path: Path, height: int, width: int) -> Tensor:
    shown = printable(str(path), 80)
    try:
        there = path.is_file() and path.stat().st_size <= decode.MAX_FILE_BYTES
    except (OSError, ValueError):
        there = False
    if not there:
        raise UserError(f"--missing {shown} is no mask file; give {FORMS}")
    try:
        target = decode.Target((height, width), 1, None)
        pixels = decode.decode(path.read_bytes(), target).pixels[0]
    except decode.OtherSizeError as error:
        raise UserError(
            f"the mask {shown} is {error.size[1]}x{error.size[0]} pixels (width x height), but the "
            f"image it belongs to is {width}x{height}; give a mask of that size"
        ) from error
    except (decode.BadImageError, OSError) as error:
        raise UserError(f"the mask {shown} cannot be read: {printable(str(error), 80)}") from error
    return torch.tensor(pixels.copy()) > 127
