"""Films: the sample pictures of a run as a GIF, frames of any kind as a GIF or WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from gentool.files import written_aside

MOST_FRAMES = 60
LARGEST = 512


def save_film(pictures: Sequence[Path], path: Path, seconds: float = 8.0) -> None:
    """Join PNGs of equal size; at most `MOST_FRAMES` of them, evenly chosen, the last held."""
    count = min(len(pictures), MOST_FRAMES)
    chosen = [pictures[round(i * (len(pictures) - 1) / max(1, count - 1))] for i in range(count)]
    frames = []
    for name in chosen:
        with Image.open(name) as image:
            frame = image.convert("P", palette=Image.Palette.ADAPTIVE)
            frame.thumbnail((LARGEST, LARGEST))
            frames.append(frame)
    each = max(40, round(1000 * seconds / count))
    durations = [each] * (count - 1) + [2000]
    with written_aside(path) as aside:
        frames[0].save(
            aside,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
        )


def save_frames(frames: Sequence[Image.Image], path: Path, milliseconds: int = 80) -> None:
    """Write frames of equal size as an endless GIF or, lossless, WebP, by the path's ending."""
    gif = path.suffix.lower() == ".gif"
    if gif:
        frames = [f.convert("P", palette=Image.Palette.ADAPTIVE) for f in frames]
    more = {} if gif else {"lossless": True}
    with written_aside(path) as aside:
        frames[0].save(
            aside,
            format="GIF" if gif else "WEBP",
            save_all=True,
            append_images=list(frames[1:]),
            duration=milliseconds,
            loop=0,
            **more,
        )
