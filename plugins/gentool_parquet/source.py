"""Images and labels from Parquet: a column of image bytes, every other column a label or attribute.

A column ``image`` is a struct of ``bytes`` and ``path``, as Hugging Face ``datasets`` has it, or
plain binary. Files whose names begin with ``train-`` and ``test-`` (or ``validation-``), or that
lie in such folders, are the splits. The bytes go to a file in the cache's folder while they are
decoded, a few rows at a time, so memory does not grow with the data.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gentool.data import cache
from gentool.data.attributes import MAX_ATTRIBUTES
from gentool.data.dataset import Loaded
from gentool.data.decoding.decode import MAX_FILE_BYTES
from gentool.data.decoding.listing import MAX_FILES, Entry, Listing
from gentool.data.decoding.worker import RAW, Member
from gentool.data.registry import Request
from gentool.data.shards import shards
from gentool.data.sources.decoded import load_images
from gentool.data.tables.table import Table
from gentool.errors import UserError, printable

SUFFIXES = (".parquet",)
ROWS = 64
"""Read at a time; an image may be large."""

MAX_COLUMN_BYTES = 2 * 2**30
"""Of one column of one row group when inflated: what may have to be in memory at once."""

_IMAGES = ("image", "img", "jpg", "png", "picture", "bytes", "image_bytes")
_SPLIT = re.compile(r"(^|/)(train|test|validation|valid|val)(?=[-./_0-9])")


def accepts(path: Path) -> bool:
    return bool(shards(path, SUFFIXES))


def load(request: Request) -> Loaded:
    """All images in the files."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError("Parquet needs pyarrow: pip install 'gentool[parquet]'") from error
    files = shards(request.path, SUFFIXES)
    key: dict[str, object] = {"source": "parquet", "files": [cache.stamp(file) for file in files]}
    size = sum(file.stat().st_size for file in files)
    with contextlib.ExitStack() as scratch:

        def listing() -> Listing:
            folder = scratch.enter_context(cache.scratch(request.options, key))
            return _Reader(request, files, folder / "images").listing()

        return load_images(request, key, (size // 1000, size), listing)


class _Reader:
    """Copies the bytes of all images to one file, and gathers what is said of them."""

    def __init__(self, request: Request, files: list[Path], spool: Path) -> None:
        self.request, self.files, self.spool = request, files, spool
        self.table = Table("the Parquet files' columns")
        self.entries: list[Entry] = []
        self.names: set[str] = set()

    def listing(self) -> Listing:
        with self.spool.open("wb") as spool:
            for number, file in enumerate(self.files):
                with _explained(file):
                    self._read(file, spool)
                self.request.progress("reading Parquet", number + 1, len(self.files))
        said = bool(self.table.names) and bool(self.table.columns)
        archives = (str(self.spool),)
        return Listing(self.entries, 0, [], archives, (self.table,) if said else ())

    def _read(self, file: Path, spool: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        shown = printable(str(file))
        root = self.request.path if self.request.path.is_dir() else file.parent
        split = _split(str(file.relative_to(root)) if file.is_relative_to(root) else file.name)
        with pq.ParquetFile(file, memory_map=False, pre_buffer=False) as parquet:
            image = _image_column(parquet.schema_arrow, shown)
            _refuse_bombs(parquet.metadata, shown)
            columns = [name for name in parquet.schema_arrow.names if name != image]
            if len(columns) > MAX_ATTRIBUTES:
                raise UserError(f"{shown} has {len(columns):,} columns, more than {MAX_ATTRIBUTES}")
            for row, values in enumerate(_rows(parquet)):
                name = self._add(values.pop(image), f"{file.stem}-{row:08d}.png", spool)
                words = _class_names(parquet.schema_arrow)
                values = {c: _said(value, words.get(c)) for c, value in values.items()}
                if split and "split" not in values:
                    values["split"] = split
                for column in values:
                    if column not in self.table.columns:
                        self.table.columns[column] = [None] * len(self.table.names)
                told = [self.table.value(values.get(c)) for c in self.table.columns]
                self.table.add(name, told)

    def _add(self, found: Any, fallback: str, spool: IO[bytes]) -> str:
        """One image's bytes into the spool; returns its name."""
        data, path = found, ""
        if isinstance(found, dict):
            data, path = found.get("bytes"), str(found.get("path") or "")
        name = path.replace("\\", "/").rpartition("/")[2] or fallback
        if name in self.names:
            name = f"{fallback}:{name}"
        self.names.add(name)
        if len(self.entries) >= MAX_FILES:
            raise UserError(f"the Parquet files hold more than {MAX_FILES:,} images")
        problem = ""
        if not isinstance(data, bytes):
            data, problem = b"", "has no bytes"
        elif len(data) > MAX_FILE_BYTES:
            data, problem = b"", f"is larger than the {MAX_FILE_BYTES >> 20} MB allowed"
        place = Member(spool.tell(), len(data), len(data), RAW, 0)
        spool.write(data)
        self.entries.append(Entry(name, place, len(data), problem))
        return name


def _rows(parquet: Any) -> Iterator[dict[str, Any]]:
    for batch in parquet.iter_batches(batch_size=ROWS, use_threads=False):
        yield from batch.to_pylist()


def _split(name: str) -> str:
    found = _SPLIT.search(name.lower())
    if found is None:
        return ""
    return {"train": "train", "test": "test"}.get(str(found[2]), "valid")


def _image_column(schema: Any, shown: str) -> str:
    """The column of image bytes, by its type and its name."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(k).name == "bytes" for k in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field.type)]
    for name in (*_IMAGES, *found):
        if name in found:
            return str(name)
    names = ", ".join(printable(name, 40) for name in schema.names[:10])
    raise UserError(f"{shown} has no column of image bytes; its columns are {names}")


def _refuse_bombs(metadata: Any, shown: str) -> None:
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for k in range(row_group.num_columns):
            size = row_group.column(k).total_uncompressed_size
            if size > MAX_COLUMN_BYTES:
                raise UserError(
                    f"{shown} has a row group of {size:,} bytes; write it with smaller ones "
                    "(row_group_size=1000)"
                )


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the numbers of a ClassLabel, which Hugging Face keeps beside the schema."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in facts["names"]]
            for column, facts in features.items()
            if isinstance(facts, dict) and isinstance(facts.get("names"), list)
        }
    return {}


def _said(value: Any, words: list[str] | None) -> Any:
    """A cell as a label file would say it: the name of a class for its number."""
    if words and isinstance(value, int) and 0 <= value < len(words):
        return words[value]
    return value if isinstance(value, bool | int | float | str | list) else None


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise UserError(
            f"{printable(str(file))} is a damaged Parquet file: {printable(first, 120)}"
        ) from error
