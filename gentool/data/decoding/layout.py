"""From the names of images to splits and labels, the same for a folder and for a zip.

``train/cat/1.png`` is a training example of class "cat". Without a ``train`` folder there is one
split; with images beside the class folders, or no such folders, there are no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from gentool.data.decoding.entries import Strings, hashes
from gentool.data.tables.labelling import Labelling
from gentool.errors import printable

MAX_CLASSES = 10_000
"""More sub-folders than this are taken for storage, not for classes."""

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")


@dataclass(frozen=True)
class Layout:
    """Which image goes where.

    Attributes:
        rows: split ("train", perhaps "test") -> indices into the names, int64, in the stored
            order: a fixed shuffle by a hash of the name, so that any slice is a fair sample, and
            images keep their order among each other when some are added.
        labels: split -> int64 labels in that order; empty where there are no classes.
        classes: names of the labels, safe to print.
        notes: what was left out or doubtful, a sentence each.
        values: split -> attributes in that order, float64 (N, K), in their own units.
        attributes: names of the K attributes, safe to print.
    """

    rows: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()


def lay_out(names: Strings, said: Labelling | None = None) -> Layout:
    """Sort out names such as "train/cat/1.png", at least one, separated by "/".

    Args:
        said: what label files say; its labels and splits count before those of folders.
    """
    start = _wrapper(names)
    split_of, inner, notes = _splits(names, start)
    if said is not None and said.splits is not None:
        split_of, notes = _said_splits(said.splits)
    found = _by_folders(names, split_of, inner, notes)
    if said is None:
        return found
    if said.labels is not None:
        labels = {split: said.labels[rows] for split, rows in found.rows.items()}
        found = replace(found, labels=labels, classes=said.classes)
    values = {split: said.attributes[rows] for split, rows in found.rows.items()}
    notes = found.notes + said.notes
    return replace(found, values=values, attributes=said.names, notes=notes)


def _by_folders(
    names: Strings, split_of: np.ndarray, inner: np.ndarray, notes: tuple[str, ...]
) -> Layout:
    """The layout that the folders of the paths give."""
    numbers: dict[str, int] = {}  # classes as they are met
    met = np.full(len(names), -1, np.int64)
    for i, name in enumerate(names):
        folder, slash, _ = name[inner[i] :].partition("/")
        if slash and split_of[i] >= 0:
            met[i] = numbers.setdefault(folder, len(numbers))
    order = np.argsort(hashes(names), kind="stable")
    rows = {
        split: chosen
        for k, split in enumerate(("train", "test"))
        if len(chosen := order[split_of[order] == k])
    }
    inside = met[split_of >= 0] >= 0
    if inside.any() and not inside.all():
        notes += ("some images lie beside the sub-folders, so the sub-folders give no labels",)
    if len(numbers) > MAX_CLASSES:
        notes += (f"{len(numbers):,} sub-folders are too many for classes, so there are no labels",)
    if not inside.all() or not 2 <= len(numbers) <= MAX_CLASSES:
        return Layout(rows, {}, (), notes)
    classes = sorted(numbers, key=_by_number_or_name)
    label = np.empty(len(classes), np.int64)
    label[[numbers[name] for name in classes]] = np.arange(len(classes))
    labels = {split: label[met[chosen]] for split, chosen in rows.items()}
    return Layout(rows, labels, tuple(printable(name, 100) for name in classes), notes)


def _said_splits(said: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The split of every image, as `_splits` gives it, from a label file's words."""
    test = "test" if "test" in said else "valid"
    split_of = np.array([{"train": 0, test: 1}.get(one, -1) for one in said], np.int8)
    left = sum(one not in ("train", test) for one in said)
    if not left:
        return split_of, ()
    return split_of, (f"{left:,} images belong to neither train nor test, and are left out",)


def _wrapper(names: Strings) -> int:
    """The length of the folders that hold everything: zips often have one at their root."""
    first, last = min(names), max(names)  # what these share, all share
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first.rfind("/", 0, same if len(names) > 1 else None) + 1


def _splits(names: Strings, start: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Of every name the split, 0 train, 1 test or -1, where the path below it starts, and notes."""
    split_of, inner = np.zeros(len(names), np.int8), np.full(len(names), start)
    tops = {folder for name in names if (folder := _top(name, start))}
    by_lower = {folder.lower() for folder in tops}
    train = next((name for name in _TRAIN if name in by_lower), None)
    if train is None:
        return split_of, inner, ()
    test = next((name for name in _TEST if name in by_lower), None)
    for i, name in enumerate(names):
        top = _top(name, start)
        split_of[i] = {train: 0, test: 1}.get(top.lower(), -1) if top else -1
        inner[i] += len(top) + 1
    if (split_of >= 0).all():
        return split_of, inner, ()
    left = sorted(folder for folder in tops if folder.lower() not in (train, test))
    shown = ", ".join(printable(name, 40) for name in left[:5]) or "the top folder"
    return split_of, inner, (f"images in {shown} belong to neither split and are left out",)


def _top(name: str, start: int) -> str:
    end = name.find("/", start)
    return name[start:end] if end >= 0 else ""


def _by_number_or_name(name: str) -> tuple[int, int, str]:
    """Sorts "2" before "10", and both before "cat"."""
    plain = name.isascii() and name.isdigit() and len(name) < 10
    return (0, int(name), name) if plain else (1, 0, name)
