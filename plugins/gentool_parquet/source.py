"""Images and labels from Parquet: a column of image bytes, every other column a label or attribute.

A column ``image`` is a struct of ``bytes`` and ``path``, as Hugging Face ``datasets`` has it, or
plain binary. Files whose names begin with ``train-`` and ``test-`` (or ``validation-``), or that
lie in such folders, are the splits. The bytes go to a file in the cache's folder while they are
decoded, a few rows at a time, so memory does not grow with the data.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
from array import array
from pathlib import Path
from typing import Any

from gentool import subprocesses
from gentool.data import cache
from gentool.data.dataset import Loaded
from gentool.data.decoding.decode import MAX_FILE_BYTES
from gentool.data.decoding.entries import Entries, Names
from gentool.data.decoding.listing import MAX_FILES, Listing
from gentool.data.decoding.worker import RAW, Member
from gentool.data.registry import Request
from gentool.data.shards import shards
from gentool.data.sources.decoded import load_images
from gentool.data.tables.table import Table
from gentool.errors import UserError, printable

SUFFIXES = (".parquet",)

_SPLIT = re.compile(r"(^|/)(train|test|validation|valid|val)(?=[-./_0-9])")


def accepts(path: Path) -> bool:
    return bool(shards(path, SUFFIXES))


def load(request: Request) -> Loaded:
    """All images in the files."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("Parquet needs pyarrow: pip install 'gentool[parquet]'")
    files = shards(request.path, SUFFIXES)
    key: dict[str, object] = {"source": "parquet", "files": [cache.stamp(file) for file in files]}
    size = sum(file.stat().st_size for file in files)
    with contextlib.ExitStack() as scratch:

        def listing() -> Listing:
            folder = scratch.enter_context(cache.scratch(request.options, key))
            return _Gathered(request, files, folder / "images").listing()

        return load_images(request, key, (size // 1000, size), listing)


class _Gathered:
    """What `gentool_parquet.reader` says of all rows; it copies their images to `spool`."""

    def __init__(self, request: Request, files: list[Path], spool: Path) -> None:
        self.request, self.files, self.spool = request, files, spool
        self.table = Table("the Parquet files' columns")
        self.entries, self.files_of = Entries(), array("l")
        self.at = 0
        root = request.path if request.path.is_dir() else request.path.parent
        relative = [f.relative_to(root) if f.is_relative_to(root) else f.name for f in files]
        self.splits = [_split(str(name)) for name in relative]

    def listing(self) -> Listing:
        """Raises UserError for files that are damaged or hostile."""
        arguments = ["-m", "gentool_parquet.reader", str(self.spool), *map(str, self.files)]
        with subprocess.Popen(
            subprocesses.python(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=subprocesses.environment(),
        ) as reader:
            try:
                last = self._gather(reader)
            finally:
                reader.kill()
        if "end" not in last:
            where = printable(str(self.request.path))
            raise UserError(last.get("error") or f"{where} is damaged: reading it ends the reader")
        self.entries.names = self._told_apart()
        said = len(self.table) and self.table.columns
        archives = (str(self.spool),)
        return Listing(self.entries, 0, [], archives, (self.table,) if said else ())

    def _gather(self, reader: subprocess.Popen[str]) -> dict[str, Any]:
        """Every row; returns the reader's last line, empty where it died."""
        assert reader.stdout is not None
        for line in reader.stdout:
            try:
                found = json.loads(line)
            except ValueError:  # cut short by its death
                return {}
            if isinstance(found, dict):
                return found
            number, path, size, values = found
            self._add(number, path, size, values)
            if len(self.entries) % 1024 == 0:
                self.request.progress("reading Parquet", number, len(self.files))
        return {}

    def _add(self, number: int, path: str, size: int, values: dict[str, Any]) -> None:
        if len(self.entries) >= MAX_FILES:
            raise UserError(f"the Parquet files hold more than {MAX_FILES:,} images")
        problem = "has no bytes" if size < 0 else ""
        if size > MAX_FILE_BYTES:
            problem = f"is larger than the {MAX_FILE_BYTES >> 20} MB allowed"
        stored = 0 if problem else size
        if self.splits[number] and "split" not in values:
            values["split"] = self.splits[number]
        self.table.add_known(len(self.entries), values)
        name = path.replace("\\", "/").rpartition("/")[2]
        member = Member(self.at, stored, stored, RAW, 0)
        self.entries.add(name or self._own_name(len(self.entries), number), stored, member, problem)
        self.files_of.append(number)
        self.at += stored

    def _own_name(self, row: int, number: int) -> str:
        return f"{self.files[number].stem}-{row:08d}.png"

    def _told_apart(self) -> Names:
        """The names, with one of gentool's before each that has come up already."""
        again = self.entries.names.repeated().tolist()
        return Names(
            f"{self._own_name(row, number)}:{name}" if repeated else name
            for row, (name, number, repeated) in enumerate(
                zip(self.entries.names, self.files_of, again, strict=True)
            )
        )


def _split(name: str) -> str:
    found = _SPLIT.search(name.lower())
    if found is None:
        return ""
    return {"train": "train", "test": "test"}.get(str(found[2]), "valid")
