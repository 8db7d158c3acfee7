"""What a label file says, before it is known which images there are.

A table has a row an image: the image's name, and a value in each column. Values are text, numbers,
truth values, lists of them, or None for an empty place; what they mean is decided later
(`gentool.data.tables.labelling`).
"""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gentool.data.attributes import MAX_ATTRIBUTES
from gentool.errors import UserError, printable

MAX_BYTES = 256 * 2**20
"""Of a label file that is read."""

MAX_ROWS = 10_000_000

MAX_MEMORY = 600 * 2**20
"""Of what a table says, roughly counted: 8 bytes a cell, and its object where it has one alone."""

_SHARED, _OBJECT = 100_000, 56
_EMPTY = frozenset(("", "nan", "na", "n/a", "null", "none"))

NAME_COLUMNS = (
    *("file_name", "filename", "file", "image", "image_id", "image_name", "image_path", "img"),
    *("name", "path", "filepath", "file_path", "id"),
)
"""What the column with the name of the file is called, the likeliest first."""


@dataclass
class Table:
    """One label file, or what a source itself says of its images.

    Attributes:
        shown: its name in messages, safe to print.
        folder: names are relative to this folder of the source, as in "train"; "" for the whole.
        names: of the images, a row each; none where `places` has them.
        places: of what a source says itself, the image's number of each row.
        columns: column -> its values, one a row.
        problems: what was wrong with single rows, a sentence's end each ("line 7 has 3 fields").
    """

    shown: str
    folder: str = ""
    names: list[str] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("q"))
    columns: dict[str, list[Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _memory: int = 0
    _shared: dict[str | float, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names) or len(self.places)

    def start(self, columns: list[str]) -> None:
        """Name the columns. Raises UserError for names that are empty, doubled or too many."""
        named = [one.strip() for one in columns]
        if len(named) > MAX_ATTRIBUTES:
            raise UserError(f"{self.shown} has {len(named):,} columns, more than {MAX_ATTRIBUTES}")
        for one in named:
            if not one or named.count(one) > 1:
                raise UserError(
                    f"{self.shown}: the column {printable(one, 40)!r} has no name, or its name is "
                    "there twice"
                )
        self.columns = {one: [] for one in named}

    def add(self, name: str, values: Iterable[Any]) -> None:
        """One row, its values in the columns' order. Raises UserError where it gets too much."""
        self._count(len(name) + _OBJECT)
        self.names.append(name)
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def add_known(self, place: int, said: dict[str, Any]) -> None:
        """What a source says of its image number `place`; new columns begin with it."""
        for column in said:
            if column not in self.columns:
                self.columns[column] = [None] * len(self.places)
        if len(self.columns) > MAX_ATTRIBUTES:
            self.start(list(self.columns))  # says so
        self._count(0)
        self.places.append(place)
        for column, values in self.columns.items():
            values.append(self.value(said.get(column)))

    def _count(self, more: int) -> None:
        self._memory += 8 * len(self.columns) + more
        if len(self) >= MAX_ROWS or self._memory > MAX_MEMORY:
            raise UserError(
                f"{self.shown} says more than gentool can hold: {len(self):,} rows of "
                f"{len(self.columns):,} columns, and there are more; leave out what is not needed"
            )

    def cell(self, text: str) -> Any:
        """What a cell says: None, a finite float, or a word; equal ones are one object."""
        if text in self._shared:
            return self._shared[text]
        word = text.strip()
        value: Any = None if word.lower() in _EMPTY else word
        with contextlib.suppress(ValueError):
            number = float(word)
            value = number if math.isfinite(number) else value
        if len(self._shared) < _SHARED:
            self._shared[text] = value
        else:
            self._memory += _OBJECT + len(text)
        return value

    def value(self, found: Any) -> Any:
        """What a value of JSON says: as `cell`, or a truth value, or a flat list; else None."""
        if isinstance(found, str):
            return self.cell(found)
        if isinstance(found, list):
            few = [self.value(one) for one in found[:MAX_ATTRIBUTES] if not isinstance(one, list)]
            self._memory += _OBJECT + 8 * len(few)
            return few if len(few) == len(found) else None
        if isinstance(found, bool):
            return found
        if isinstance(found, int | float):
            with contextlib.suppress(OverflowError):
                return self._number(float(found)) if math.isfinite(found) else None
        return None

    def _number(self, number: float) -> float:
        """The one object for it, as far as there are not too many."""
        if (known := self._shared.get(number)) is not None:
            return float(known)
        if len(self._shared) < _SHARED:
            self._shared[number] = number
        self._memory += _OBJECT
        return number


def name_column(columns: list[str]) -> int:
    """The index of the column that names the file: by `NAME_COLUMNS`, else the first."""
    lower = [one.strip().lower() for one in columns]
    return next((lower.index(name) for name in NAME_COLUMNS if name in lower), 0)
