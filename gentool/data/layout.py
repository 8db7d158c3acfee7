"""From the names of images to splits and labels, the same for a folder and for a zip.

``train/cat/1.png`` is a training example of class "cat". Without a ``train`` folder there is one
split; with images beside the class folders, or no such folders, there are no labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gentool.errors import printable

MAX_CLASSES = 10_000
"""More sub-folders than this are taken for storage, not for classes."""

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")


@dataclass(frozen=True)
class Layout:
    """Which image goes where.

    Attributes:
        rows: split ("train", perhaps "test") -> indices into the names, in the stored order: a
            fixed shuffle by a hash of the name, so that any slice is a fair sample, and images
            keep their order among each other when some are added.
        labels: split -> int64 labels in that order; empty where there are no classes.
        classes: names of the labels, safe to print.
        notes: what was left out or doubtful, a sentence each.
    """

    rows: dict[str, list[int]]
    labels: dict[str, np.ndarray]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def lay_out(names: Sequence[str]) -> Layout:
    """Sort out names such as "train/cat/1.png", at least one, separated by "/"."""
    paths = _unwrapped([name.split("/") for name in names])
    splits, notes = _splits(paths)
    class_of = {i: parts[0] for s in splits.values() for i, parts in s.items() if len(parts) > 1}
    taken = sum(len(indices) for indices in splits.values())
    found = sorted(set(class_of.values()), key=_by_number_or_name)
    if 0 < len(class_of) < taken:
        notes += ("some images lie beside the sub-folders, so the sub-folders give no labels",)
    if len(found) > MAX_CLASSES:
        notes += (f"{len(found):,} sub-folders are too many for classes, so there are no labels",)
    rows = {s: sorted(indices, key=lambda i: _hash(names[i])) for s, indices in splits.items()}
    if len(class_of) < taken or not 2 <= len(found) <= MAX_CLASSES:
        return Layout(rows, {}, (), notes)
    number = {name: k for k, name in enumerate(found)}
    labels = {s: np.array([number[class_of[i]] for i in r]) for s, r in rows.items()}
    return Layout(rows, labels, tuple(printable(name, 100) for name in found), notes)


def _unwrapped(paths: list[list[str]]) -> list[list[str]]:
    """The paths without the folders that hold everything: zips often have one at their root."""
    first = paths[0]
    depth = 0
    while all(len(p) > depth + 1 and p[depth] == first[depth] for p in paths):
        depth += 1
    return [p[depth:] for p in paths]


def _splits(paths: list[list[str]]) -> tuple[dict[str, dict[int, list[str]]], tuple[str, ...]]:
    """Split -> index -> the path below the split's folder, and notes on folders left out."""
    tops = {p[0].lower() for p in paths if len(p) > 1}
    train = next((name for name in _TRAIN if name in tops), None)
    if train is None:
        return {"train": dict(enumerate(paths))}, ()
    test = next((name for name in _TEST if name in tops), None)
    splits: dict[str, dict[int, list[str]]] = {"train": {}, "test": {}}
    left: set[str] = set()
    for i, path in enumerate(paths):
        top = path[0].lower() if len(path) > 1 else ""
        if top == train:
            splits["train"][i] = path[1:]
        elif test is not None and top == test:
            splits["test"][i] = path[1:]
        else:
            left.add(path[0] if len(path) > 1 else "the top folder")
    if not splits["test"]:
        del splits["test"]
    shown = ", ".join(printable(name, 40) for name in sorted(left)[:5])
    return splits, (
        (f"images in {shown} belong to neither split and are left out",) if left else ()
    )


def _by_number_or_name(name: str) -> tuple[int, int, str]:
    """Sorts "2" before "10", and both before "cat"."""
    plain = name.isascii() and name.isdigit() and len(name) < 10
    return (0, int(name), name) if plain else (1, 0, name)


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
