"""IDX files, the format in which MNIST is published (LeCun): a big-endian header, then bytes.

The header is ``00 00 08 rank`` followed by `rank` 32-bit sizes; 08 means unsigned byte, the only
type read here. A header never decides alone how much memory is taken: see `read`.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gentool.console import Progress
from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.errors import UserError, printable

MAX_BYTES = 8 * 2**30
"""The largest array that is read from one file."""

_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 256 * 2**20, 100  # MNIST deflates to a fifth

_CHUNK = 4 * 2**20
_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def accepts(path: Path) -> bool:
    """A folder that holds training images in IDX form."""
    return path.is_dir() and _find(path, _NAMES["train"][0]) is not None


def load(request: Request) -> Loaded:
    """A folder of IDX files; the t10k files, where they are, make the test split."""
    return load_folder(request, request.path)


def complete(path: Path) -> bool:
    """Whether a folder holds images and labels of both splits."""
    names = [name for pair in _NAMES.values() for name in pair]
    return path.is_dir() and all(_find(path, name) for name in names)


def present(folder: Path, name: str) -> bool:
    """Whether a published file is there, packed or not."""
    return (folder / name).is_file() or _find(folder, name.removesuffix(".gz")) is not None


def load_folder(
    request: Request,
    folder: Path,
    classes: tuple[str, ...] = (),
    check: Callable[[Loaded], Loaded] | None = None,
) -> Loaded:
    """As `load`.

    Args:
        classes: names of the labels; by default their numbers.
        check: sees what has been read before it is kept, and may refuse it.
    """
    files = {s: [_find(folder, name) for name in names] for s, names in _NAMES.items()}
    key = {
        "source": "idx",
        "files": [cache.stamp(f) for pair in files.values() for f in pair if f],
        "classes": classes,
        **({} if check is None else {"checked": True}),
    }

    def read_all() -> Loaded:
        train = _split(files["train"], request.progress)
        test = _split(files["test"], request.progress) if files["test"][0] else None
        if train is None:
            raise UserError(f"{printable(str(folder))} has no {_NAMES['train'][0]} in it")
        if test is not None and test.x.shape[1:] != train.x.shape[1:]:
            raise UserError(
                f"{printable(str(folder))}: training images are {train.x.shape[2:]}, test images "
                f"{test.x.shape[2:]}; they must have one size"
            )
        made = Loaded(train, test, classes or _class_names(train, test))
        return made if check is None else check(made)

    return cache.through(request.options, key, read_all)


def read(path: Path, rank: int, progress: Progress = lambda what, done, total: None) -> np.ndarray:
    """The uint8 array in one IDX file, gzipped or not, of the given rank.

    Memory grows with what the file really holds, never with what its header claims. Raises
    UserError for a file that is no IDX file, is cut short, or holds more than it says.
    """
    shown = printable(str(path))
    try:
        with _open(path) as file:
            shape = _header(file, rank, shown)
            total = int(np.prod(shape, dtype=object))
            if total > MAX_BYTES:
                raise UserError(
                    f"{shown}: the header asks for {total:,} bytes, more than the {MAX_BYTES:,} "
                    "that gentool reads"
                )
            if total > max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * path.stat().st_size):
                raise UserError(
                    f"{shown}: the header asks for {total:,} bytes, but the file has only "
                    f"{path.stat().st_size:,}; it is damaged or made to do harm, and is not read"
                )
            data = bytearray()
            while len(data) < total and (chunk := file.read(min(_CHUNK, total - len(data)))):
                data += chunk
                progress(f"reading {path.name}", len(data), total)
            if len(data) < total:
                raise UserError(
                    f"{shown} is cut short: its header promises {total:,} bytes, it holds "
                    f"{len(data):,}; fetch it again"
                )
            if file.read(1):
                raise UserError(f"{shown} holds more bytes than its header says; fetch it again")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{shown} is a damaged gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    return np.frombuffer(data, np.uint8).reshape(shape)


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _header(file: BinaryIO, rank: int, shown: str) -> tuple[int, ...]:
    magic = file.read(4)
    if magic[:3] != b"\x00\x00\x08" or len(magic) != 4:
        raise UserError(f"{shown} is not an IDX file of bytes: it begins with {magic.hex()!r}")
    if magic[3] != rank:
        raise UserError(f"{shown} holds an array of rank {magic[3]}, where {rank} is expected")
    sizes = file.read(4 * rank)
    if len(sizes) != 4 * rank:
        raise UserError(f"{shown} is cut short in its header; fetch it again")
    return struct.unpack(f">{rank}I", sizes)


def _split(files: list[Path | None], progress: Progress) -> Split | None:
    images_file, labels_file = files
    if images_file is None:
        return None
    images = read(images_file, 3, progress)
    if 0 in images.shape:
        raise UserError(
            f"{printable(str(images_file))} holds no image: its shape is {images.shape}"
        )
    labels = read(labels_file, 1) if labels_file else None
    if labels is not None and len(labels) != len(images):
        raise UserError(
            f"{printable(str(labels_file))} has {len(labels):,} labels for {len(images):,} images; "
            "the two files do not belong together"
        )
    return Split(images[:, None], None if labels is None else labels.astype(np.int64))


def _class_names(train: Split, test: Split | None) -> tuple[str, ...]:
    tops = [int(s.labels.max()) for s in (train, test) if s is not None and s.labels is not None]
    return tuple(str(k) for k in range(max(tops) + 1)) if tops else ()


def _find(folder: Path, name: str) -> Path | None:
    """`name` as it may be spelt: with .gz or not, and with the dot that some copies have."""
    for stem in (name, name.replace("-idx", ".idx")):
        for spelt in (stem, stem + ".gz"):
            if (folder / spelt).is_file():
                return folder / spelt
    return None
