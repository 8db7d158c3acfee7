"""Which files of a source are label files, and what they say together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gentool.data.decoding.entries import Strings
from gentool.data.tables.labelling import Labelling, label
from gentool.data.tables.readers import reader_of
from gentool.data.tables.table import MAX_BYTES, Table
from gentool.errors import UserError, printable
from gentool.files import read_regular

NAMES = (
    *("labels.csv", "labels.tsv", "labels.jsonl"),
    *("metadata.csv", "metadata.jsonl", "dataset.json"),
    *("list_attr_celeba.txt", "list_attr_celeba.csv"),
)
"""Files beside images that are read; of several in one folder the first counts."""

PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
"""Read beside the one of `NAMES`: which image is for training, validation and test."""

_CELEBA = (*NAMES[-2:], *PARTITIONS)
_CELEBA_PLACES = ("", "Anno", "Eval")


class LabelFile(NamedTuple):
    """One label file: its name below the source, and how to get its bytes."""

    name: str
    read: Callable[[], bytes]


def is_label_file(name: str) -> bool:
    """Whether a file is taken for a label file, by its name below the source."""
    return name.rpartition("/")[2].lower() in (*NAMES, *PARTITIONS)


def of_path(path: str | Path, name: str = "") -> LabelFile:
    """A file of its own; the name is what it is called below the source."""
    real = os.path.realpath(path)
    return LabelFile(name or Path(path).name, lambda: read_regular(real, MAX_BYTES))


def beside(source: Path) -> list[Path]:
    """CelebA's lists, which lie beside ``img_align_celeba/`` or its zip."""
    if not source.name.lower().startswith("img_align_celeba"):
        return []
    places = [source.parent / place / name for place in _CELEBA_PLACES for name in _CELEBA]
    return [path for path in places if path.is_file()]


def read_all(
    files: Sequence[LabelFile], images: Strings, asked: bool, known: Sequence[Table] = ()
) -> Labelling | None:
    """What the files say of the images; None where there is none, or none says anything.

    Args:
        known: what is said of them elsewhere.
        asked: the user named the file, which may then be called anything.

    Raises:
        UserError: for a file that cannot be read, or names no image.
    """
    chosen = list(files) if asked else _first_of_each_folder(files)
    try:
        tables = [table for table in (*known, *map(_read, chosen)) if len(table)]
        return label(images, tables) if tables else None
    except UserError as error:
        if asked:
            raise
        raise UserError(f"{error}; mend it, or give --labels none to leave it unread") from error


def _first_of_each_folder(files: Sequence[LabelFile]) -> list[LabelFile]:
    found: dict[tuple[str, bool], LabelFile] = {}
    order = {name: k for k, name in enumerate((*NAMES, *PARTITIONS))}
    for file in sorted(files, key=lambda one: order[one.name.rpartition("/")[2].lower()]):
        folder, _, last = file.name.rpartition("/")
        found.setdefault((folder, last.lower() in PARTITIONS), file)
    return list(found.values())


def _read(file: LabelFile) -> Table:
    shown = printable(file.name, 80)
    reader = reader_of(file.name)
    if reader is None:
        raise UserError(
            f"{shown} is no label file that gentool reads: .csv, .tsv, .jsonl, .json (as StyleGAN "
            "has it) or .txt (as CelebA has it)"
        )
    try:
        data = file.read()
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    return reader(data, shown, file.name.rpartition("/")[0])
