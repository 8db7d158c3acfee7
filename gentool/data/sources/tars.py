"""Tar files of images, as WebDataset has them: one, or many shards of one data set.

What belongs to one example shares its name up to the first dot: ``0001.jpg`` with ``0001.cls`` (a
class's number or name), ``0001.json`` (an object: label, split, attributes) or ``0001.txt``.
Images are read where they lie; a compressed tar is inflated into the cache's folder first.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gentool.data import cache
from gentool.data.dataset import Loaded
from gentool.data.decoding import tardir
from gentool.data.decoding.entries import Entries, Names
from gentool.data.decoding.listing import HIDDEN, MAX_FILES, Listing, is_image
from gentool.data.decoding.tardir import TarEntry
from gentool.data.decoding.worker import RAW, Member
from gentool.data.registry import Request
from gentool.data.shards import shards
from gentool.data.sources.decoded import load_images
from gentool.data.tables.find import LabelFile, is_label_file
from gentool.data.tables.table import MAX_BYTES, Table
from gentool.errors import UserError, printable

PLAIN, ZIPPED = (".tar",), (".tar.gz", ".tgz")
_SIDECARS = (".cls", ".json", ".txt")
_MAX_SIDECAR = 2**18
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 256 * 2**20, 50
_CHUNK = 4 * 2**20


def accepts(path: Path) -> bool:
    """A tar file, a folder with tar files in it and no image at its top, or a pattern."""
    if path.is_dir():
        with os.scandir(path) as found:
            names = [one.name for one in found]
        tars = any(name.lower().endswith(PLAIN + ZIPPED) for name in names)
        return tars and not any(map(is_image, names))
    return bool(shards(path, PLAIN + ZIPPED))


def load(request: Request, check: Callable[[], None] = lambda: None) -> Loaded:
    """All images in the tars.

    Args:
        check: called before they are decoded.
    """
    files = shards(request.path, PLAIN + ZIPPED)
    key: dict[str, object] = {"source": "tar", "files": [cache.stamp(file) for file in files]}
    size = sum(file.stat().st_size for file in files)
    with contextlib.ExitStack() as scratch:

        def listing() -> Listing:
            check()
            plain = _inflated(request, key, files, scratch)
            return _listing(files, plain, request)

        return load_images(request, key, (size // 1000, size), listing)


def _inflated(
    request: Request, key: dict[str, object], files: list[Path], scratch: contextlib.ExitStack
) -> list[Path]:
    """The files, with a plain copy in place of each compressed one."""
    zipped = [file for file in files if file.name.lower().endswith(ZIPPED)]
    if not zipped:
        return files
    folder = scratch.enter_context(cache.scratch(request.options, key))
    copies = {}
    for k, file in enumerate(zipped):
        copies[file] = folder / f"{k}.tar"
        most = max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * file.stat().st_size)
        _inflate(file, copies[file], most)
        request.progress("inflating tars", k + 1, len(zipped))
    return [copies.get(file, file) for file in files]


def _inflate(file: Path, to: Path, most: int) -> None:
    shown, done = printable(str(file)), 0
    try:
        with gzip.open(file, "rb") as zipped, to.open("wb") as out:
            while chunk := zipped.read(_CHUNK):
                done += len(chunk)
                if done > most:
                    raise UserError(
                        f"{shown} would inflate to more than {most:,} bytes; it is made to do "
                        "harm, or is to be unpacked by hand"
                    )
                out.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{shown} is a damaged gzip file ({error}); fetch it again") from error


def _listing(files: list[Path], plain: list[Path], request: Request) -> Listing:
    """Every image of every tar, and what stands beside them."""
    entries, table = Entries(), Table("the files beside the images")
    shard_of = array("l")
    tables: list[LabelFile] = []
    ignored = 0
    for number, path in enumerate(plain):
        with path.open("rb") as archive:
            for group in _groups(tardir.entries(path)):
                said: dict[str, Any] = {}
                pictures = [one for one in group if is_image(one.name)]
                for one in group:
                    if is_label_file(one.name) and not one.problem:
                        read = partial(_read, path, one.offset, one.size)
                        tables.append(LabelFile(one.name, read))
                    elif pictures and one.name.lower().endswith(_SIDECARS):
                        said |= _sidecar(one, archive)
                    elif not is_image(one.name):
                        ignored += 1
                for one in pictures:
                    if said:
                        table.add_known(len(entries), said)
                    member = Member(one.offset, one.size, one.size, RAW, 0, number)
                    entries.add(one.name, one.size, member, one.problem)
                    shard_of.append(number)
                if len(entries) > MAX_FILES:
                    raise UserError(f"the tars hold more than {MAX_FILES:,} images")
        request.progress("listing tars", number + 1, len(plain))
    if entries.names.repeated().any():
        entries.names = _with_shards(entries.names, files, shard_of)
    archives = tuple(str(path) for path in plain)
    return Listing(entries, ignored, tables, archives, (table,) if len(table) else ())


def _groups(members: Iterator[TarEntry]) -> Iterator[list[TarEntry]]:
    """Neighbours that share their name up to the first dot: one example."""
    key, group = "", list[TarEntry]()
    for one in members:
        if HIDDEN.search(one.name):
            continue
        folder, slash, last = one.name.rpartition("/")
        own = f"{folder}{slash}{last.partition('.')[0]}"
        if own != key and group:
            yield group
            group = []
        if len(group) > 1000:
            raise UserError(f"a tar holds more than 1,000 files of the example {printable(own)}")
        key = own
        group.append(one)
    if group:
        yield group


def _sidecar(one: TarEntry, archive: Any) -> dict[str, Any]:
    """What a small file beside an image says; nothing where it cannot be read."""
    if one.problem or one.size > _MAX_SIDECAR:
        return {}
    text = os.pread(archive.fileno(), one.size, one.offset).decode("utf-8", "replace")
    if one.name.lower().endswith(".json"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {"label": found}
    return {"label" if one.name.lower().endswith(".cls") else "text": text.strip()}


def _with_shards(names: Names, files: Sequence[Path], shard_of: Sequence[int]) -> Names:
    """The names with their shard's before the last part: two shards use the same ones."""
    stems = [file.name.partition(".")[0] for file in files]
    parts = (name.rpartition("/") for name in names)
    return Names(
        f"{folder}{slash}{stems[number]}:{last}"
        for (folder, slash, last), number in zip(parts, shard_of, strict=True)
    )


def _read(path: Path, offset: int, size: int) -> bytes:
    """A label file in a tar. Raises OSError where it is too large."""
    if size > MAX_BYTES:
        raise OSError(f"it has more than {MAX_BYTES:,} bytes")
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, offset)
