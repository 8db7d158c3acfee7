"""Image files as what was seen, y: of the size and the channels that an operator leaves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gentool.data.decoding import decode
from gentool.errors import UserError, printable

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def read(path: Path, shape: tuple[int, ...], what: str) -> Tensor:
    """An image file as float32 (C, H, W) in [0, 1]; raises UserError where it is another shape.

    Args:
        shape: (C, H, W) that it must have.
        what: why, for the sentence: "the model makes", "after ×4 smaller there is".
    """
    shown = printable(str(path), 80)
    channels, height, width = shape
    try:
        if not path.is_file() or path.stat().st_size > decode.MAX_FILE_BYTES:
            raise UserError(f"{shown} is no image file of at most 128 MB")
        target = decode.Target((height, width), 3 if channels == 3 else 1, None, channels == 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about what it can read all the same
            found = decode.decode(path.read_bytes(), target)
    except decode.OtherSizeError as error:
        h, w = error.size
        raise UserError(
            f"{shown} is {w}x{h} pixels (width x height), but {what} {width}x{height}; give an "
            "image of that size, or the --scale by which it was made smaller"
        ) from error
    except decode.ColouredError as error:
        raise UserError(f"{shown} is in colour, but {what} grey images; give a grey one") from error
    except decode.BadImageError as error:
        raise UserError(f"{shown} {error}; give an image that can be read") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or printable(str(error), 80)
        raise UserError(f"{shown} cannot be read: {reason}") from error
    if channels == 3 and found.mode in GREY_MODES:
        raise UserError(
            f"{shown} is grey, but {what} colour images; add --grey to have it coloured"
        )
    return torch.from_numpy(np.ascontiguousarray(found.pixels)).float() / 255
