"""`faces`: cartoon faces drawn by Pillow, 64×64 RGB, with seven attributes, from no network.

They stand in for CelebA where there is none: every face has the binary attributes smile, male,
glasses, beard, hat, open_mouth and blond, and varies in shape, skin, hair, eyes, mouth, clothes,
background, pose and light. The attributes are drawn independently, but for beards: as with real
faces they are mostly men's, so that a direction found for one is not free of the other. An example
depends only on the split and its index, so `faces:5000` is the beginning of `faces:10000`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources.portrait import SIDE, Colour, Face, draw, mixed
from gentool.errors import UserError
from gentool.spec import Attribute

DEFAULT_COUNT = 10_000
MAX_COUNT = 200_000
ATTRIBUTES = ("smile", "male", "glasses", "beard", "hat", "open_mouth", "blond")
SHARES = {"smile": 0.5, "male": 0.5, "glasses": 0.35, "hat": 0.3, "open_mouth": 0.4, "blond": 0.35}
BEARD = {True: 0.5, False: 0.06}
"""How often a man has a beard, and anybody else."""

_SEED = 64_641_107
_VERSION = 2  # to be raised when the drawing changes, so that old cache entries go unused

_NUMBERS = tuple(
    name
    for name, kind in Face.__annotations__.items()
    if kind == "float" and name not in ("mouth_bend", "mouth_opening")
)
_SKINS: tuple[Colour, ...] = ((255, 224, 196), (240, 194, 160), (205, 150, 110), (140, 95, 68))
_BLOND: tuple[Colour, ...] = ((250, 226, 130), (226, 182, 76))
_DARK: tuple[Colour, ...] = ((24, 20, 22), (74, 46, 30), (122, 52, 24), (98, 94, 96))
_EYES: tuple[Colour, ...] = ((84, 50, 28), (60, 110, 70), (60, 110, 170))
_COLOURS = 10  # uniform numbers that make the colours


def load(request: Request) -> Loaded:
    """`count` training examples (default 10,000) and a tenth as many test examples."""
    n = request.count or DEFAULT_COUNT
    if n > MAX_COUNT:
        raise UserError(f"faces draws up to {MAX_COUNT:,} training images, not {n:,}")
    counts = (n, max(n // 10, 1))
    key = {"source": "faces", "version": _VERSION, "pillow": _pillow(), "counts": counts}

    def draw_both() -> Loaded:
        def report(done: int) -> None:
            request.progress("drawing faces", done, sum(counts))

        train = draw_split(counts[0], split=0, report=report)
        test = draw_split(counts[1], split=1, report=lambda done: report(counts[0] + done))
        attributes = tuple(Attribute(name) for name in ATTRIBUTES)
        return Loaded(train, test, shuffled=True, attributes=attributes)

    return cache.through(request.options, key, draw_both)


def draw_split(n: int, split: int = 0, report: Callable[[int], None] = lambda done: None) -> Split:
    """n examples: uint8 (n, 3, 64, 64), and attributes, float32 (n, 7) of 0 and 1.

    Args:
        split: 0 for training, 1 for test; the two have no random number in common.
        report: called with the number drawn so far.
    """
    # One row of uniform numbers an example, in this order whatever n is.
    rng = np.random.Generator(np.random.Philox([_SEED, split]))
    u = rng.random((n, len(ATTRIBUTES) + 2 + len(_NUMBERS) + _COLOURS))
    images = np.empty((n, 3, SIDE, SIDE), np.uint8)
    attributes = np.empty((n, len(ATTRIBUTES)), np.float32)
    for i in range(n):
        face = face_of(u[i].tolist())
        images[i] = draw(face)
        attributes[i] = [getattr(face, name) for name in ATTRIBUTES]
        if i % 256 == 0:
            report(i)
    report(n)
    return Split(images, attributes=attributes)


def face_of(u: list[float]) -> Face:
    """The face that a row of uniform numbers makes."""
    k, m = len(ATTRIBUTES), len(_NUMBERS)
    chance = dict(zip(ATTRIBUTES, u, strict=False))
    has = {name: chance[name] < share for name, share in SHARES.items()}
    has["beard"] = chance["beard"] < BEARD[has["male"]]
    rest: dict[str, Any] = {name: 2 * x - 1 for name, x in zip(_NUMBERS, u[k + 2 :], strict=False)}
    c = u[k + 2 + m :]
    frame = hsv(c[6], 0.7, 0.25 + 0.2 * c[7])
    sky, far = hsv(c[8], 0.15 + 0.35 * c[5], 0.55 + 0.45 * c[7]), hsv(c[8] + 0.15 * c[9], 0.3, 0.75)
    return Face(
        **has,
        mouth_bend=u[k],
        mouth_opening=u[k + 1],
        **rest,
        skin=along(_SKINS, c[0]),
        hair=along(_BLOND if has["blond"] else _DARK, c[1]),
        iris=along(_EYES, c[2]),
        clothes=hsv(c[3], 0.6, 0.35 + 0.5 * c[4]),
        accessory=hsv(c[5], 0.75, 0.35 + 0.45 * c[9]),
        frame=frame,
        sky=sky,
        ground=far,
    )


def along(colours: tuple[Colour, ...], u: float) -> Colour:
    """The colour at u in [0, 1) on the line through `colours`."""
    place = u * (len(colours) - 1)
    i = int(place)
    return mixed(colours[i], colours[i + 1], place - i)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _pillow() -> str:
    from PIL import __version__

    return __version__
