"""The program that reads Parquet, in a process of its own: a hostile file can end it.

``python -m gentool_parquet.reader SPOOL FILE…`` copies the bytes of all images to SPOOL, and prints
a JSON line a row: the image's path, its size (-1 for none), and the other columns' values. The last
line is ``{"error": …}`` where a file is refused, ``{"end": true}`` otherwise; without either, the
process died.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gentool.data.attributes import MAX_ATTRIBUTES
from gentool.data.decoding.decode import MAX_FILE_BYTES
from gentool.errors import UserError, printable

ROWS = 64
"""Read at a time; an image may be large."""

MAX_COLUMN_BYTES = 2 * 2**30
"""Of one column of one row group when inflated: what may have to be in memory at once."""

_IMAGES = ("image", "img", "jpg", "png", "picture", "bytes", "image_bytes")


def main() -> None:
    """The program: see the module's text."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not get among the lines
    spool, *files = sys.argv[1:]
    try:
        with Path(spool).open("wb") as out:
            for number, file in enumerate(files):
                with _explained(Path(file)):
                    for row in _read(Path(file), out):
                        print(json.dumps([number, *row]), file=lines)
        print('{"end": true}', file=lines, flush=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), file=lines, flush=True)


def _read(file: Path, spool: IO[bytes]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    import pyarrow.parquet as pq

    shown = printable(str(file))
    with pq.ParquetFile(file, memory_map=False, pre_buffer=False) as parquet:
        image = _image_column(parquet.schema_arrow, shown)
        _refuse_bombs(parquet.metadata, shown)
        if len(parquet.schema_arrow.names) > MAX_ATTRIBUTES:
            raise UserError(f"{shown} has more than {MAX_ATTRIBUTES} columns")
        words = _class_names(parquet.schema_arrow)
        for values in _rows(parquet):
            found = values.pop(image)
            data, path = found, ""
            if isinstance(found, dict):
                data, path = found.get("bytes"), str(found.get("path") or "")
            size = len(data) if isinstance(data, bytes) else -1
            if 0 < size <= MAX_FILE_BYTES:
                spool.write(data)
            yield path, size, {c: _said(value, words.get(c)) for c, value in values.items()}


def _rows(parquet: Any) -> Iterator[dict[str, Any]]:
    for batch in parquet.iter_batches(batch_size=ROWS, use_threads=False):
        yield from batch.to_pylist()


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


if __name__ == "__main__":
    main()
