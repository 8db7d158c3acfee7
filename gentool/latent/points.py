"""How a point of the latent space is written, the same in every verb. No torch here.

seed:7  seed:0-9           the latent that a seed draws, as `gentool sample --seed 7 --n 1`
class:3  class:cat:7       a seed's latent (0 unless given) under a class, by number or name
face.png  folder/          an image, or every image of a folder: encoded or inverted
test:12  train:0-7         an example, or several, of the run's own data
mnist:test:12              an example of another source; faces:500:train:0-7 works too
z.npy  z.npz:4  z.npz:0-7  latents from a file, all of them or some rows
z:0.5,-1.25                one latent, number by number
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gentool.errors import UserError, printable

LATENTS = frozenset({".npy", ".npz"})
MOST = 100_000
"""Points that one range may stand for."""

FORMS = (
    "seed:7, an image file or folder, test:12, SRC:SPLIT:INDEX such as mnist:test:12, latents in a "
    ".npy or .npz, z:0.5,-1, or class:3"
)


@dataclass(frozen=True)
class Seed:
    """The first latent that `gentool sample --seed number` draws; under a class where one is
    given, by its number or name."""

    number: int
    label: str | None = None


@dataclass(frozen=True)
class Picture:
    """An image file."""

    path: Path


@dataclass(frozen=True)
class Example:
    """One example of a data source; `source` None means the data the run was trained on."""

    source: str | None
    split: str
    index: int


@dataclass(frozen=True)
class Latents:
    """Rows of a file of latents; `rows` None means all of them."""

    path: Path
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Literal:
    """One latent, written out; `text` is what stands after ``z:``."""

    text: str


Point = Seed | Picture | Example | Latents | Literal


def parse(text: str) -> list[Point]:
    """The points that one word of the command line stands for, mostly one.

    Raises:
        UserError: for what is no point.
    """
    return list(_parsed(text))


def parse_all(texts: Sequence[str]) -> list[Point]:
    """The points of several words, in their order."""
    return [point for text in texts for point in parse(text)]


def _parsed(text: str) -> Iterator[Point]:
    head, colon, rest = text.partition(":")
    if colon and head == "seed":
        for number in _range(text, rest):
            yield Seed(number)
        return
    if colon and head == "class":
        label, _, seeds = rest.rpartition(":") if re.search(r":[0-9]+(-[0-9]+)?$", rest) else (
            rest, "", "0"
        )  # fmt: skip
        for number in _range(text, seeds):
            yield Seed(number, label)
        return
    if colon and head == "z":
        yield Literal(rest)
        return
    found = re.fullmatch(r"(?:(.+):)?(train|test):([0-9]+(?:-[0-9]+)?)", text)
    if found is not None:
        for index in _range(text, found[3]):
            yield Example(found[1], found[2], index)
        return
    path, rows = text, None
    cut = re.fullmatch(r"(.+\.np[yz]):([0-9]+(?:-[0-9]+)?)", text, flags=re.IGNORECASE)
    if cut is not None and not _exists(Path(text)):
        path, rows = cut[1], tuple(_range(text, cut[2]))
    yield from _files(text, Path(path).expanduser(), rows)


def _files(text: str, path: Path, rows: tuple[int, ...] | None) -> Iterator[Point]:
    if path.suffix.lower() in LATENTS and _exists(path) and not path.is_dir():
        yield Latents(path, rows)
    elif _exists(path) and path.is_dir():
        from gentool.data.decoding.decode import SUFFIXES

        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise UserError(f"there is no image in the folder {printable(text)}")
        for file in inside:
            yield Picture(file)
    elif _exists(path):
        yield Picture(path)
    else:
        raise UserError(
            f"{printable(text)!r} is no point of the latent space, and there is no such file; give "
            f"{FORMS}"
        )


def _range(text: str, rows: str) -> range:
    """``7`` or ``0-9``, both ends included."""
    if (found := re.fullmatch(r"([0-9]{1,12})(?:-([0-9]{1,12}))?", rows)) is None:
        raise UserError(
            f"{printable(text)!r} ends in neither a number such as 7 nor a range such as 0-9"
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < first + MOST:
        raise UserError(
            f"{printable(text)!r} is a range of no or of more than {MOST:,} points; write the "
            "smaller number first"
        )
    return range(first, last + 1)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the system, or one with a zero byte
        return False


def title(point: Point) -> str:
    """A few characters that say which point it is, for a caption."""
    if isinstance(point, Seed):
        return f"seed {point.number}" if point.label is None else f"class {point.label}"
    if isinstance(point, Picture):
        return printable(point.path.stem, 24)
    if isinstance(point, Example):
        return f"{point.split} {point.index}"
    if isinstance(point, Literal):
        return "z"
    return printable(point.path.stem, 24)
