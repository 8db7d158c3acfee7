"""From the bytes of a label file to a `Table`, one function a format.

A file that is no such file at all raises UserError; a row that is malformed goes to `problems`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from gentool.data.attributes import MAX_ATTRIBUTES
from gentool.data.tables.table import Table, name_column
from gentool.errors import UserError, printable

MAX_LINE = 1_000_000
"""Characters of a line, or of one image's entry in JSON."""


def read_csv(data: bytes, shown: str, folder: str = "") -> Table:
    """A header, then a row an image; separated by commas, semicolons or tabs."""
    table = Table(shown, folder)
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "replace", newline="")
    first = text.readline(MAX_LINE)
    separator = max(",;\t", key=first.count)
    text.seek(0)
    rows = csv.reader(text, delimiter=separator)
    try:
        header = next(rows, [])
        if len(header) < 2:
            raise UserError(
                f"{shown} is no table: its first line must name at least two columns, such as "
                "file_name,label"
            )
        at = name_column(header)
        table.start(header[:at] + header[at + 1 :])
        for row in rows:
            if len(row) != len(header):
                if row:
                    here = f"line {rows.line_num} has {len(row)} fields, not {len(header)}"
                    table.problems.append(here)
                continue
            name = row.pop(at).strip()
            table.add(name, map(table.cell, row))
    except csv.Error as error:
        raise UserError(f"{shown} is no CSV file: {printable(str(error), 100)}") from error
    return table


def read_jsonl(data: bytes, shown: str, folder: str = "") -> Table:
    """A JSON object a line: the file's name and whatever is known of it."""
    table = Table(shown, folder)
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line) if len(line) <= MAX_LINE else None
            name = row.pop(list(row)[name_column(list(row))])
            if not isinstance(name, str):
                raise ValueError
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
            table.problems.append(f"line {number} is no JSON object with the file's name")
            continue
        for column in row:
            if column not in table.columns:
                table.columns[column] = [None] * len(table.names)
        if len(table.columns) > MAX_ATTRIBUTES:
            table.start(list(table.columns))  # says so
        table.add(name, [table.value(row.get(column)) for column in table.columns])
    if not table.names:
        raise UserError(f"{shown} holds no line that is a JSON object with a file's name")
    columns = table.columns
    table.start(list(columns))
    table.columns = dict(zip(table.columns, columns.values(), strict=True))
    return table


def read_dataset_json(data: bytes, shown: str, folder: str = "") -> Table:
    """StyleGAN's ``dataset.json``: ``{"labels": [["00000/img.png", 6], …]}``.

    A label is a class's number, or a list of numbers: attributes.
    """
    table = Table(shown, folder)
    start = re.search(rb'"labels"\s*:\s*(\[|null)', data)
    if start is None:
        raise UserError(f'{shown} is no dataset.json: it has no "labels" in it')
    table.start(["label"])
    if start[1] == b"null":
        return table
    for number, entry in enumerate(_elements(data, start.end()), 1):
        match entry:
            case [str(name), label] if isinstance(label, int | float | str | list):
                table.add(name, [table.value(label)])
            case _:
                table.problems.append(f"entry {number} is no pair of a name and a label")
                if entry is None:
                    break
    return table


def _elements(data: bytes, at: int) -> Iterator[Any]:
    """The elements of the JSON array that begins at `at`, one at a time; None where it breaks.

    Read in pieces, so that a file costs no more memory than what it says.
    """
    decoder, between = json.JSONDecoder(), re.compile(r"[\s,]*")
    text, place = "", 0
    while True:
        if len(text) - place < MAX_LINE and at < len(data):
            end = min(at + 2 * MAX_LINE, len(data))
            while end < len(data) and data[end] & 0xC0 == 0x80:  # not within a character
                end += 1
            text, place = text[place:] + data[at:end].decode("utf-8", "replace"), 0
            at = end
        found = between.match(text, place)
        place = found.end() if found else place
        if text[place : place + 1] == "]":
            return
        try:
            element, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            yield None
            return
        yield element


def read_celeba(data: bytes, shown: str, folder: str = "") -> Table:
    """CelebA's lists: ``list_attr_celeba.txt`` (a count, the names, then −1 or 1 each) and
    ``list_eval_partition.txt`` (0 train, 1 validation, 2 test)."""
    table = Table(shown, folder)
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "replace")
    first = lines.readline(MAX_LINE).split()
    if len(first) == 1 and first[0].isdecimal():
        table.start(lines.readline(MAX_LINE).split())
    else:
        table.start(["partition"])
        lines.seek(0)
    width = len(table.columns)
    number = 2 if width > 1 else 0
    while line := lines.readline(MAX_LINE):
        number += 1
        name, *values = line.split() or [""]
        if len(values) != width:
            if name:
                table.problems.append(f"line {number} has {len(values)} values, not {width}")
            continue
        table.add(name, map(table.cell, values))
    if not table.names:
        raise UserError(f"{shown} is none of CelebA's lists: no line has a name and {width} values")
    return table


Reader = Callable[[bytes, str, str], Table]


def reader_of(name: str) -> Reader | None:
    """The reader for a file of that name; None for what is no label file by its name."""
    lower = name.lower()
    if lower.endswith((".csv", ".tsv")):
        return read_csv
    if lower.endswith((".jsonl", ".ndjson")):
        return read_jsonl
    if lower.endswith(".json"):
        return read_dataset_json
    return read_celeba if lower.endswith(".txt") else None
