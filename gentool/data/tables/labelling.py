"""From tables to classes, attributes and splits of the images that there are.

A column called ``label`` or ``class`` names classes, one called ``split`` says where an image
belongs, and every other column of numbers or truth values is an attribute. A list of words, or
words joined by "|", makes an attribute of every word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gentool.data.attributes import MAX_ATTRIBUTES
from gentool.data.decoding.entries import Strings
from gentool.data.tables.places import Places
from gentool.data.tables.table import Table
from gentool.errors import UserError, printable

MAX_CLASSES = 10_000
"""More different labels than this are no classes."""

LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y")
SPLIT_COLUMNS = ("split", "partition", "subset", "set")
SPLITS = {
    **dict.fromkeys(("train", "training", 0.0), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", 1.0), "valid"),
    **dict.fromkeys(("test", "testing", 2.0), "test"),
}
_TRUTH = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0, True: 1.0, False: 0.0}


@dataclass(frozen=True)
class Labelling:
    """What the tables say of a list of images.

    Attributes:
        labels: int64 (N,), -1 for an image that `problems` names; None where no column has labels.
        classes: the labels' names, safe to print.
        attributes: float64 (N, K), in their own units.
        names: of the attributes, safe to print.
        splits: of each image "train", "valid" or "test"; None where nothing is said of that.
        problems: index of an image -> what is wrong with its row.
        notes: what was left out or doubtful, a sentence each.
    """

    labels: np.ndarray | None
    classes: tuple[str, ...]
    attributes: np.ndarray
    names: tuple[str, ...]
    splits: list[str] | None
    problems: dict[int, str]
    notes: tuple[str, ...]


def label(images: Strings, tables: Sequence[Table]) -> Labelling:
    """Join the tables with the images by name, and decide what the columns are.

    Args:
        images: names below the source, separated by "/".

    Raises:
        UserError: for tables that name none of the images.
    """
    joined = _Joined(images, tables)
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    splits: list[str] | None = None
    parts: list[tuple[list[str], np.ndarray]] = []
    for name, values in joined.columns.items():
        known: Sequence[int] = range(len(values))
        if None in values:
            known = [i for i, value in enumerate(values) if value is not None]
        if name.lower() in SPLIT_COLUMNS and (found := _splits(values)) is not None:
            splits = found
        elif not known:
            joined.notes.append(f"the column {printable(name, 40)!r} is empty, and left out")
        elif labels is None and _is_label(name, joined.columns, values, known):
            labels, classes = _labels(values, known)
            joined.incomplete(name, labels < 0)
        elif (part := _attributes(name, values, known)) is not None:
            parts.append(part)
            joined.incomplete(name, np.isnan(part[1]).any(axis=1))
        else:
            words = f"the column {printable(name, 40)!r} holds text, not numbers, and is left out"
            joined.notes.append(words)
    if splits is not None:
        splits = [one or ("train" if i in joined.problems else "") for i, one in enumerate(splits)]
        if "train" not in splits:
            joined.notes.append(f"{tables[0].shown} has no image for training, so no splits")
            splits = None
    names = [one for part, _ in parts for one in part]
    if len(names) > MAX_ATTRIBUTES:
        raise UserError(f"{tables[0].shown} makes {len(names):,} attributes of its columns")
    columns = [array for _, array in parts] or [np.empty((len(images), 0))]
    shown = tuple(printable(name, 100) for name in names)
    return Labelling(
        *(labels, classes, np.concatenate(columns, axis=1), shown, splits),
        *(joined.problems, tuple(joined.notes)),
    )


class _Joined:
    """The columns of all tables, brought into the images' order; None where nothing is said."""

    def __init__(self, images: Strings, tables: Sequence[Table]) -> None:
        self.n = len(images)
        self.columns: dict[str, list[Any]] = {}
        self.problems: dict[int, str] = {}
        self.notes: list[str] = []
        self._shown, self._first = tables[0].shown, images[0]
        places: Places | None = None
        told = np.zeros(self.n, bool)
        for table in tables:
            if table.names:
                places = places or Places(images)
                found = places.of(table.folder, table.names)
            else:
                found = np.asarray(table.places, np.int64)
            self._add(table, found, told)
        absent = f"has no row in {self._shown}"
        for i in np.flatnonzero(~told).tolist():
            self.problems[i] = absent

    def _add(self, table: Table, places: np.ndarray, told: np.ndarray) -> None:
        """Take in a table's rows, of which `places` has the images, -1 for a stranger."""
        if not (places >= 0).any():
            raise UserError(
                f"{table.shown} names none of the images: it begins with "
                f"{printable(table.names[0], 60)!r}, they with {printable(self._first, 60)!r}"
            )
        row_of = np.full(self.n, -1, np.int64)
        known = np.flatnonzero(places >= 0)
        row_of[places[known[::-1]]] = known[::-1]  # of several rows the first
        doubled = self._doubled(table, places, row_of)
        in_order = np.array_equal(row_of, np.arange(len(table)))
        for name, values in table.columns.items():
            old = self.columns.get(name) or [None] * self.n
            self.columns[name] = (
                values
                if in_order
                else [
                    before if row < 0 else values[row]
                    for before, row in zip(old, row_of.tolist(), strict=True)
                ]
            )
        told[row_of >= 0] = True
        if strangers := int((places < 0).sum()):
            self.notes.append(f"{strangers:,} rows of {table.shown} name images that are not there")
        if doubled:
            self.notes.append(f"{doubled:,} rows of {table.shown} say the same a second time")
        if table.problems:
            others = f", and {len(table.problems) - 1:,} more" if len(table.problems) > 1 else ""
            self.notes.append(f"{table.shown}: {table.problems[0]}{others}")

    def _doubled(self, table: Table, places: np.ndarray, row_of: np.ndarray) -> int:
        """How many rows say what another says of the image; where they differ is a problem."""
        again = np.flatnonzero((places >= 0) & (row_of[places] != np.arange(len(places))))
        doubled = 0
        for row in again.tolist():
            first = row_of[places[row]]
            if any(column[row] != column[first] for column in table.columns.values()):
                self.problems[int(places[row])] = f"has two rows in {table.shown} that differ"
            else:
                doubled += 1
        return doubled

    def incomplete(self, name: str, missing: np.ndarray) -> None:
        """Note the images of which the column says nothing."""
        problem = f"has no {printable(name, 40)!r} in {self._shown}"
        for i in np.flatnonzero(missing).tolist():
            self.problems.setdefault(i, problem)


def _splits(values: list[Any]) -> list[str] | None:
    """The splits that a column names; None where it holds anything else."""
    found = [SPLITS.get(value.lower() if isinstance(value, str) else value) for value in values]
    if any(value is not None and split is None for value, split in zip(values, found, strict=True)):
        return None
    return [split or "" for split in found]


def _is_label(name: str, columns: dict[str, Any], values: list[Any], known: Sequence[int]) -> bool:
    """Whether a column names classes: by its name, or as the only column of words."""
    if any(isinstance(values[i], list) or _is_tags(values[i]) for i in known):
        return False
    words = any(isinstance(values[i], str) and values[i].lower() not in _TRUTH for i in known)
    others = [one for one in columns if one.lower() not in SPLIT_COLUMNS]
    different = len({values[i] for i in known})
    # Words that nearly all differ are captions, not classes.
    alone = words and len(others) == 1 and 2 * different <= len(known)
    if different > MAX_CLASSES or not (name.lower() in LABEL_COLUMNS or alone):
        return False
    numbers = [values[i] for i in known if isinstance(values[i], float)]
    return words or all(number >= 0 and number == int(number) for number in numbers)


def _labels(values: list[Any], known: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Classes of words are sorted; numbers are themselves, as far as they are small."""
    labels = np.full(len(values), -1, np.int64)
    found = {values[i] for i in known}
    if all(isinstance(one, float) for one in found) and max(found) < MAX_CLASSES:
        labels[known] = [int(values[i]) for i in known]
        return labels, tuple(str(k) for k in range(int(max(found)) + 1))
    spelt = {one: f"{one:g}" if isinstance(one, float) else str(one) for one in found}
    order = {one: k for k, one in enumerate(sorted(found, key=lambda one: spelt[one]))}
    labels[known] = [order[values[i]] for i in known]
    return labels, tuple(printable(spelt[one], 100) for one in order)


def _attributes(
    name: str, values: list[Any], known: Sequence[int]
) -> tuple[list[str], np.ndarray] | None:
    """One column of numbers, several for lists, one for every word of tags; None for text."""
    first = values[known[0]]
    if isinstance(first, list) and all(isinstance(one, float | bool) for one in first):
        return _vectors(name, values, known)
    if any(isinstance(values[i], list) or _is_tags(values[i]) for i in known):
        return _tags(values, known)
    numbers = np.full((len(values), 1), np.nan)
    for i in known:
        value = values[i]
        key = value.lower() if isinstance(value, str) else value
        number = value if isinstance(value, float) else _TRUTH.get(key)
        if number is None:
            return None
        numbers[i] = number
    return [name], numbers


def _vectors(
    name: str, values: list[Any], known: Sequence[int]
) -> tuple[list[str], np.ndarray] | None:
    width = len(values[known[0]])
    array = np.full((len(values), width), np.nan)
    for i in known:
        numbers = values[i] if isinstance(values[i], list) else []
        if len(numbers) != width or not all(isinstance(one, float | bool) for one in numbers):
            return None
        array[i] = numbers
    return [f"{name}{k}" for k in range(width)], array


def _is_tags(value: Any) -> bool:
    return isinstance(value, str) and "|" in value


def _tags(values: list[Any], known: Sequence[int]) -> tuple[list[str], np.ndarray] | None:
    """A binary attribute for every word that stands in any of the lists."""
    words = {i: _words(values[i]) for i in known}
    names = sorted({word for some in words.values() for word in some})
    if not 0 < len(names) <= MAX_ATTRIBUTES:
        return None
    number = {name: k for k, name in enumerate(names)}
    array = np.zeros((len(values), len(names)))
    for i, some in words.items():
        array[i, [number[word] for word in some]] = 1.0
    return names, array


def _words(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value).split("|")
    return [word for one in parts if (word := str(one).strip())]
