"""`glyphs`: the digits 0-9 as Pillow's own font draws them, under random affine maps.

28×28 grey images in the manner of MNIST, with labels, from no file and no network. An example
depends only on the split and its index, so `glyphs:5000` is the beginning of `glyphs:20000`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.errors import UserError

SIDE = 28
DEFAULT_COUNT = 20_000
MAX_COUNT = 1_000_000
CLASSES = tuple("0123456789")

_MASTER = 112  # side of the drawing that is mapped, four times the result's
_FONT_SIZE = 94
_WEIGHTS = (0, 1, 2, 3, 4, 5)  # extra half-width of the stroke, in pixels of the drawing
_SEED = 28_280_910
_VERSION = 1  # to be raised when the drawing changes, so that old cache entries go unused


def load(request: Request) -> Loaded:
    """`count` training examples (default 20,000) and a tenth as many test examples."""
    n = request.count or DEFAULT_COUNT
    if n > MAX_COUNT:
        raise UserError(f"glyphs draws up to {MAX_COUNT:,} training images, not {n:,}")
    counts = (n, max(n // 10, 1))
    key = {
        "source": "glyphs",
        "version": _VERSION,
        "font": _FONT_SIZE,
        "pillow": _pillow(),
        "counts": counts,
    }

    def draw_both() -> Loaded:
        def report(done: int) -> None:
            request.progress("drawing glyphs", done, sum(counts))

        train = draw(counts[0], split=0, report=report)
        test = draw(counts[1], split=1, report=lambda done: report(counts[0] + done))
        return Loaded(train, test, CLASSES, shuffled=True)

    return cache.through(request.options, key, draw_both)


def draw(n: int, split: int = 0, report: Callable[[int], None] = lambda done: None) -> Split:
    """n examples: uint8 (n, 1, 28, 28), 0 background to 255 ink, and labels.

    Args:
        split: 0 for training, 1 for test; the two have no random number in common.
        report: called with the number drawn so far.
    """
    masters = _masters()
    # One row of uniform numbers an example, in this order whatever n is.
    rng = np.random.Generator(np.random.Philox([_SEED, split]))
    u = rng.random((n, 8))
    labels = (u[:, 0] * len(CLASSES)).astype(np.int64)
    weights = (u[:, 1] * len(_WEIGHTS)).astype(np.int64)
    maps = _inverse_maps(2 * u[:, 2:] - 1)
    images = np.empty((n, 1, SIDE, SIDE), np.uint8)
    twice = (2 * SIDE, 2 * SIDE)
    for i in range(n):
        master = masters[labels[i]][weights[i]]
        # Twice the size, then the mean of each 2×2 block: smooth edges at little cost.
        mapped = master.transform(
            twice, Image.Transform.AFFINE, tuple(maps[i]), Image.Resampling.BILINEAR
        )
        images[i, 0] = np.asarray(mapped.reduce(2))
        if i % 2048 == 0:
            report(i)
    report(n)
    return Split(images, labels)


def _masters() -> list[list[Image.Image]]:
    """masters[digit][weight]: the digit in the middle of a 112×112 drawing, halved to 56×56."""
    try:
        # With a size, Pillow gives its bundled outline font; the 10-pixel bitmap font, its only
        # other one, has neither sizes nor weights.
        font = ImageFont.load_default(size=_FONT_SIZE)
    except (ImportError, OSError) as error:
        raise UserError(
            "glyphs needs a Pillow that was built with FreeType, which this one was not; install "
            "Pillow's own wheel (pip install --force-reinstall pillow) or give another --data"
        ) from error
    drawn = []
    for digit in CLASSES:
        weights = []
        for weight in _WEIGHTS:
            page = Image.new("L", (_MASTER, _MASTER))
            ink = ImageDraw.Draw(page)
            left, top, right, bottom = ink.textbbox((0, 0), digit, font=font, stroke_width=weight)
            x, y = (_MASTER - left - right) / 2, (_MASTER - top - bottom) / 2
            ink.text((x, y), digit, fill=255, font=font, stroke_width=weight)
            weights.append(page.reduce(2))
        drawn.append(weights)
    return drawn


def _inverse_maps(s: np.ndarray) -> np.ndarray:
    """Affine maps from the result's pixels to the master's, float64 (N, 6), from s in [-1, 1].

    The forward map about the centre is A = R(θ)·[[1, h], [0, 1]]·diag(a, b), then a shift;
    Pillow wants its inverse: (x, y) in the 56×56 result -> (m₀x + m₁y + m₂, m₃x + m₄y + m₅).
    """
    theta = math.radians(12) * s[:, 0]
    shear = 0.18 * s[:, 1]
    a, b = 0.95 + 0.15 * s[:, 2], 0.95 + 0.10 * s[:, 3]
    shift_x, shift_y = 3.0 * s[:, 4], 3.0 * s[:, 5]  # pixels of the 56×56 result
    cos, sin = np.cos(theta), np.sin(theta)
    # A, entry by entry, and its inverse through the determinant a·b.
    a00, a01 = a * cos, b * (shear * cos - sin)
    a10, a11 = a * sin, b * (shear * sin + cos)
    det = a * b
    i00, i01, i10, i11 = a11 / det, -a01 / det, -a10 / det, a00 / det
    centre = float(SIDE)
    from_x, from_y = centre + shift_x, centre + shift_y
    m2 = centre - i00 * from_x - i01 * from_y
    m5 = centre - i10 * from_x - i11 * from_y
    return np.stack([i00, i01, m2, i10, i11, m5], axis=1)


def _pillow() -> str:
    from PIL import __version__, features

    return f"{__version__}/{features.version('freetype2')}"
