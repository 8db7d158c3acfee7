"""One image file's bytes -> one uint8 array. Every rule about modes, bombs and sizes is here.

What a file means: palettes are looked up; transparency is laid over white; 16-bit grey is scaled
by 255/65535, not clipped; CMYK and the like are converted to RGB by Pillow, without colour
profiles; of several frames the first is taken; the EXIF orientation is applied.
"""

from __future__ import annotations

import contextlib
import io
import re
from codecs import getincrementaldecoder
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gentool.data.options import Fit
from gentool.errors import printable

VERSION = 1
"""To be raised when the pixels that come out change, so that old cache entries go unused."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The only decoders tried, whatever the file's name: Pillow has others that call programs."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Files are taken for images by these endings, in any case."""

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded: RGBA in three copies stays under 1 GB."""

MAX_FILE_BYTES = 128 * 2**20
"""Larger files are refused before they are read."""

_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
_HOLD_EXIF = frozenset(("exif", "xmp", "Raw profile type exif"))
_FILTER = Image.Resampling.LANCZOS


class BadImageError(Exception):
    """The file cannot be decoded; the message is the reason, safe to print."""


class OtherSizeError(Exception):
    """The image has another size than the rest, and no resize was asked for."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(f"{size[0]}x{size[1]}")
        self.size = size


class ColouredError(Exception):
    """The image has colour, where all were thought to be grey."""


@dataclass(frozen=True)
class Target:
    """What every image becomes.

    Attributes:
        size: (H, W); None leaves each image its own.
        channels: 1 or 3.
        fit: how another shape is brought to `size`; None raises `OtherSizeError` instead.
        only_grey: raise `ColouredError` for an image whose channels differ.
    """

    size: tuple[int, int] | None = None
    channels: int = 3
    fit: Fit | None = None
    only_grey: bool = False


class Decoded(NamedTuple):
    """`pixels` uint8 (C, H, W); the file's own (H, W), mode, and whether it has several frames."""

    pixels: np.ndarray
    size: tuple[int, int]
    mode: str
    frames: bool


def decode(data: bytes, target: Target) -> Decoded:
    """Decode one file. Raises BadImageError, OtherSizeError or ColouredError."""
    try:
        return _decode(data, target)
    except (BadImageError, OtherSizeError, ColouredError):
        raise
    except UnidentifiedImageError:
        raise BadImageError(_what_else(data)) from None
    except MemoryError:
        raise BadImageError("needs more memory than there is") from None
    except Exception as error:  # decoders meet damaged files with exceptions of every type
        reason = re.sub(r"<[^>]*>", "", f"{error}" or type(error).__name__)
        raise BadImageError(f"cannot be decoded ({printable(reason, 120)})") from None


def _decode(data: bytes, target: Target) -> Decoded:
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise BadImageError(
            f"has {image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} allowed"
        )
    mode = image.mode
    stored = (image.height, image.width)
    jpeg = image.format in ("JPEG", "MPO")  # MPO: a JPEG with further views after the first
    frames = not jpeg and bool(getattr(image, "is_animated", False))
    turned = _orientation(image)
    size = stored[::-1] if turned in (5, 6, 7, 8) else stored
    if target.fit is None and target.size not in (None, size):
        raise OtherSizeError(size)
    resize = target.size is not None and target.size != size
    if resize and target.size is not None and jpeg:
        # Let the JPEG decoder itself scale down by 2, 4 or 8, to no less than twice the result.
        side = 2 * max(target.size)
        image.draft(None, (side, side))
    image.load()
    if turned != 1:
        image = ImageOps.exif_transpose(image) or image
    return Decoded(convert(image, target), size, mode, frames)


def convert(image: Image.Image, target: Target) -> np.ndarray:
    """A loaded image as the target wants it: uint8 (C, H, W), perhaps a transposed view."""
    image = _plain(image)
    if target.size is not None and target.size != (image.height, image.width):
        image = _resized(image, target.size, target.fit or "crop")
    return _planes(image, target)


def _orientation(image: Image.Image) -> int:
    # Pillow turns a TIFF on its own while it loads.
    if image.format == "TIFF" or _HOLD_EXIF.isdisjoint(image.info):
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata does not make the pixels bad
        return 1


def _plain(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB, 8 bits, without transparency."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        grey = image.mode in _GREY_MODES
        with_alpha = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(with_alpha, mask=with_alpha)
        return white.convert("L") if grey else white
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise BadImageError("has floating-point pixels outside 0 to 1")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if values.min() < 0 or values.max() > 65535:
        raise BadImageError("has 32-bit pixels beyond 0 to 65,535")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def _resized(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    width_height = (size[1], size[0])
    if fit == "crop":
        return ImageOps.fit(image, width_height, _FILTER)
    if fit == "pad":
        return ImageOps.pad(image, width_height, _FILTER)
    return image.resize(width_height, _FILTER)


def _planes(image: Image.Image, target: Target) -> np.ndarray:
    if target.only_grey and image.mode == "RGB":
        pixels = np.asarray(image)
        if (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
            raise ColouredError
        return pixels[..., :1].transpose(2, 0, 1)
    if target.channels == 1:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[None]
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return pixels.transpose(2, 0, 1)


_BEGINNINGS = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
"""How files of the formats begin."""


def _what_else(data: bytes) -> str:
    if not data:
        return "is empty"
    for begins, name in _BEGINNINGS.items():
        if data.startswith(begins):
            return f"is a damaged {name}: it begins as one, and its header is cut or wrong"
    with contextlib.suppress(UnicodeDecodeError):  # incremental: a letter may be cut at the end
        text = getincrementaldecoder("utf-8")().decode(data[:512])
        if all(c.isprintable() or c in "\t\n\r\f" for c in text):
            return "is a text file, not an image"
    return "is in none of the formats that gentool reads (JPEG, PNG, GIF, WebP, BMP, TIFF, PPM)"
