"""Films: the sample pictures of a run as a GIF, frames of any kind as a GIF or WebP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from gentool.files import opened_for

MOST_FRAMES = 60
LARGEST = 512
MOST_PIXELS = 2**26
"""Of a picture that is read; a larger one, such as no grid of samples is, is left out."""


def frames_of(pictures: Sequence[Callable[[], BinaryIO]]) -> list[Image.Image]:
    """At most `MOST_FRAMES` PNGs, evenly chosen, as the frames of a film.

    Args:
        pictures: each opens one; what cannot be read, or differs in size, is left out.
    """
    count = min(len(pictures), MOST_FRAMES)
    chosen = [pictures[round(i * (len(pictures) - 1) / max(1, count - 1))] for i in range(count)]
    frames = [frame for opened in chosen if (frame := _frame(opened)) is not None]
    return [frame for frame in frames if frame.size == frames[-1].size]


def save_film(frames: Sequence[Image.Image], target: Path | BinaryIO, seconds: float = 8.0) -> None:
    """Write frames of one size, at least one, as an animated GIF; the last is held."""
    each = max(40, round(1000 * seconds / len(frames)))
    durations = [each] * (len(frames) - 1) + [2000]
    with opened_for(target) as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
        )


def save_frames(
    frames: Sequence[Image.Image], path: Path | BinaryIO, milliseconds: int = 80
) -> None:
    """Write frames of equal size as an endless GIF or, lossless, WebP, by the path's ending; to an
    open file as a GIF."""
    gif = not isinstance(path, Path) or path.suffix.lower() == ".gif"
    if gif:
        frames = [f.convert("P", palette=Image.Palette.ADAPTIVE) for f in frames]
    more = {} if gif else {"lossless": True}
    with opened_for(path) as file:
        frames[0].save(
            file,
            format="GIF" if gif else "WEBP",
            save_all=True,
            append_images=list(frames[1:]),
            duration=milliseconds,
            loop=0,
            **more,
        )


def _frame(opened: Callable[[], BinaryIO]) -> Image.Image | None:
    """A picture as a frame, or None where it is none that can be shown."""
    # Pillow raises all of these for files that are no pictures.
    try:
        with opened() as file, Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            frame = image.convert("P", palette=Image.Palette.ADAPTIVE)
            frame.thumbnail((LARGEST, LARGEST))
            return frame
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
