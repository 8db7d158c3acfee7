"""`stl10`: photographs, 96×96 RGB (Coates, Ng and Lee 2011), 5,000 labelled and 100,000 not.

``stl10`` is the labelled training images and the test images; ``stl10:unlabeled`` trains on all
105,000 without their labels. Read from the tar file as it comes, so memory stays small.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published, check, load_published
from gentool.errors import UserError, printable

STL10 = Published(
    name="stl10",
    mirrors=("http://ai.stanford.edu/~acoates/stl10/",),
    files=(
        Download(
            "stl10_binary.tar.gz",
            2_640_397_119,
            sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
        ),
    ),
    classes=(
        *("airplane", "bird", "car", "cat", "deer"),
        *("dog", "horse", "monkey", "ship", "truck"),
    ),
)

TRAIN, TEST, UNLABELED = 5_000, 8_000, 100_000
SHAPE = (3, 96, 96)
_AT_ONCE = 500


def load(request: Request) -> Loaded:
    if request.argument not in ("", "unlabeled"):
        raise UserError(
            f"stl10:{printable(request.argument, 40)} is no part of stl10; give stl10 or "
            "stl10:unlabeled"
        )
    return load_published(request, STL10, lambda folder: _load_from(request, folder))


def _load_from(request: Request, folder: Path) -> Loaded:
    tar = folder / STL10.files[0].name
    labelled = not request.argument
    key = {"source": "stl10", "files": [cache.stamp(tar)], "labelled": labelled}
    if (kept := cache.look_up(request.options, key)) is not None:
        return kept
    check(folder, STL10)
    with cache.Draft(request.options, key) as draft:
        unlabeled = 0 if labelled else UNLABELED
        train = draft.array("train", (unlabeled + TRAIN, *SHAPE), np.uint8)
        test = draft.array("test", (TEST, *SHAPE), np.uint8)
        into = {"train_X.bin": train[unlabeled:], "test_X.bin": test}
        if unlabeled:
            into["unlabeled_X.bin"] = train[:unlabeled]
        labels = _read(tar, into, request)
        made = Loaded(
            Split(train, labels["train_y.bin"] if labelled else None),
            Split(test, labels["test_y.bin"] if labelled else None),
            STL10.classes if labelled else (),
        )
        return draft.commit(made)


def _read(tar: Path, into: dict[str, np.ndarray], request: Request) -> dict[str, np.ndarray]:
    """Fill the arrays from the files of those names; returns the labels, int64 from 0."""
    shown = printable(str(tar))
    counts = {"train_y.bin": TRAIN, "test_y.bin": TEST}
    labels: dict[str, np.ndarray] = {}
    found = 0
    try:
        with tarfile.open(tar, "r|gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None and name in into:
                    _fill(into[name], file)
                    found += 1
                    request.progress("reading stl10", found, len(into))
                elif file is not None and name in counts:
                    data = np.frombuffer(file.read(counts[name]), np.uint8)
                    labels[name] = data.astype(np.int64) - 1
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise UserError(f"{shown} is damaged ({error}); remove it and fetch it again") from error
    whole = all(len(labels.get(name, ())) == n for name, n in counts.items())
    if not whole or found < len(into) or any((one < 0).any() for one in labels.values()):
        raise UserError(f"{shown} lacks a file of STL-10; remove it and fetch it again")
    return labels


def _fill(out: np.ndarray, file: IO[bytes]) -> None:
    """Images one after the other, red, green and blue, each column by column."""
    for start in range(0, len(out), _AT_ONCE):
        rows = out[start : start + _AT_ONCE]
        data = np.frombuffer(file.read(rows.size), np.uint8)
        rows[...] = data.reshape(-1, 3, SHAPE[2], SHAPE[1]).transpose(0, 1, 3, 2)
