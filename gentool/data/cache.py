"""Decoded data on disk, memory-mapped, so that a second start is instant.

An entry is a folder ``decoded/KEY/`` of .npy files and a `meta.json`. KEY is a hash of what the
pixels depend on: path, size and mtime of every file (`stamp`), the options, and the version of
the code that decodes. An entry is written aside and renamed whole, so a torn one is never seen
under its name; one that is damaged or not ours is rebuilt. Entries are checked by size and by a
checksum of sampled blocks, which finds cut and overwritten files in about a millisecond; a
single flipped bit in a large entry can slip through.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from gentool import litter
from gentool.data import unfinished
from gentool.data.dataset import Loaded, Report, Split
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.files import open_regular, read_regular
from gentool.spec import Attribute

FORMAT = 1
"""Version of the entry's layout; part of every key."""

DEFAULT_LIMIT_GB = 50.0
"""Entries unused for longest are removed beyond this; $GENTOOL_CACHE_GB sets another limit."""

_META, _LARGEST_META = "meta.json", 16 * 2**20
_ENTRY, _DRAFT = re.compile("[0-9a-f]{32}"), re.compile(r"\.[0-9a-f]{32}-(?!partial_)[a-z0-9_]{8}")
_LARGEST = 2**50
_BLOCK, _BLOCKS = 4096, 64


def stamp(path: Path) -> list[Any]:
    """What identifies a file's content without reading it: real path, size, mtime in ns."""
    status = path.stat()
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]


def digest(value: Any) -> str:
    """A hash of any JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def through(options: DataOptions, key: dict[str, Any], make: Callable[[], Loaded]) -> Loaded:
    """The entry of `key`, or else what `make` returns, kept for the next time."""
    if (kept := look_up(options, key)) is not None:
        return kept
    made = make()
    with Draft(options, key) as draft:
        if not draft.kept:  # nothing gained by a detour over a temporary file
            return draft.describe(made)
        for name, split in _splits(made):
            draft.array(name, split.x.shape, split.x.dtype)[...] = split.x
        return draft.commit(made)


def look_up(options: DataOptions, key: dict[str, Any]) -> Loaded | None:
    """The entry of `key`, mapped read-only; None where there is none, or none that is sound."""
    name = _hash(key)
    folder = options.cache_folder() / "decoded" / name
    if (loaded := _sound(folder, name)) is not None:
        with contextlib.suppress(OSError):
            os.utime(folder / _META)  # when it was last used, for `_make_room`
    return loaded


def _sound(folder: Path, name: str) -> Loaded | None:
    """What the entry in `folder` holds, if it is whole and the one of that name."""
    try:
        meta = json.loads(read_regular(folder / _META, _LARGEST_META))
        if meta.pop("check") != digest(meta) or (meta["format"], meta["key"]) != (FORMAT, name):
            return None
        if any(_check(folder / file) != tuple(seen) for file, seen in meta["files"].items()):
            return None
        return _mapped(folder, meta)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class Draft:
    """An entry being written; leaving the block without `commit` leaves nothing behind.

    A resumable one lies in the same folder at the next start, if a signal ended this one: see
    `gentool.data.unfinished`. Unless another process is at it, in which case each makes its own.

    Where the cache folder cannot be written, the draft lies in the system's temporary folder and
    `commit` maps it without keeping it (`kept` is False).
    """

    def __init__(
        self, options: DataOptions, key: dict[str, Any], *, resumable: bool = False
    ) -> None:
        self.name = _hash(key)
        self.home = options.cache_folder() / "decoded"
        self.notes: tuple[str, ...] = ()
        self.held: unfinished.Held | None = None
        try:
            litter.make_marked(self.home)
            self.held = unfinished.hold(self.home, self.name) if resumable else None
            self.folder = self.held.path if self.held else self._aside()
            self.kept = True
        except OSError as error:
            self.folder = _temporary()
            self.kept = False
            shown = printable(str(self.home))
            why = f"the cache folder {shown} cannot be written ({error.strerror})"
            self.notes = (f"{why}, so the data is decoded anew at every start",)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        interrupted = error is not None and not isinstance(error, Exception)
        if not (self.held and interrupted):
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.held:
            self.held.release()
        where = printable(str(self.folder.parent))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"there is no room left in {where} for the decoded data; free some space, give "
                "--cache a folder on another disk, or a smaller --size"
            ) from error
        if isinstance(error, OSError):
            raise UserError(
                f"decoded data cannot be kept in {where}: {error.strerror or error}; give --cache "
                "another folder"
            ) from error

    def array(self, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.memmap:
        """A new writable array of the entry. Its disk space is claimed at once: writing to a
        mapped page for which there is no room would kill the process (SIGBUS)."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        kind = np.dtype(dtype)
        with path.open("wb") as file:
            _write_header(file, shape, kind)
            file.flush()
            _claim(file.fileno(), file.tell() + math.prod(shape) * kind.itemsize)
            return np.memmap(path, kind, "r+", file.tell(), shape)

    def has(self, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> bool:
        """Whether such an array is there already, from a process that was killed."""
        try:
            found = np.load(self.path(name), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        return bool(found.shape == shape and found.dtype == dtype)

    def keep_rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Shrink an array to the given ascending rows, in place; returns it mapped."""
        path = self.path(name)
        whole: np.memmap = np.load(path, mmap_mode="r+", allow_pickle=False)
        if len(rows) == len(whole):
            return whole
        for start in range(0, len(rows), 1024):
            part = rows[start : start + 1024]
            whole[start : start + len(part)] = whole[part]
        whole.flush()
        shape, kind, offset = (len(rows), *whole.shape[1:]), whole.dtype, whole.offset
        with path.open("r+b") as file:
            _write_header(file, shape, kind)
            file.truncate(offset + math.prod(shape) * kind.itemsize)
        kept: np.ndarray = np.load(path, mmap_mode="r+", allow_pickle=False)
        return kept

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def describe(self, made: Loaded) -> Loaded:
        """`made` with its content hash and this draft's notes."""
        report = replace(made.report, notes=made.report.notes + self.notes)
        return replace(made, content=content(made), report=report)

    def commit(self, made: Loaded) -> Loaded:
        """Put the entry in place and return it mapped read-only.

        The arrays "train" and "test" have been written through `array`; labels and attributes
        are written here.
        """
        made = self.describe(made)
        files = []
        for name, split in _splits(made):
            files.append(f"{name}.npy")
            if split.labels is not None:
                files.append(f"{name}-labels.npy")
                np.save(self.folder / files[-1], split.labels.astype(np.int64), allow_pickle=False)
            if split.attributes is not None:
                files.append(f"{name}-attributes.npy")
                values = split.attributes.astype(np.float32)
                np.save(self.folder / files[-1], values, allow_pickle=False)
        for file in files:
            _sync(self.folder / file)
        meta = {
            "format": FORMAT,
            "key": self.name,
            "files": {file: _check(self.folder / file) for file in files},
            "classes": made.classes,
            "attributes": [attribute.to_json() for attribute in made.attributes],
            "report": made.report.to_json(),
            "content": made.content,
            "shuffled": made.shuffled,
        }
        sealed = {**meta, "check": digest(json.loads(json.dumps(meta)))}
        (self.folder / _META).write_text(json.dumps(sealed), "ascii")
        _sync(self.folder / _META)
        # Mapped before it is renamed: a mapping outlives its file's name, whoever takes that.
        loaded = _mapped(self.folder, meta)
        if self.kept:
            self._put_in_place()
            _make_room(self.home, keep=self.name)
        return loaded

    def _aside(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f".{self.name}-", dir=self.home))

    def _put_in_place(self) -> None:
        """Rename the draft to the entry, unless another process was faster.

        Where that does not work out, this process still has its own copy mapped.
        """
        final = self.home / self.name
        for _ in range(2):
            with contextlib.suppress(OSError):
                self.folder.rename(final)
                if self.held:
                    self.held.finish(final)
                return
            if _sound(final, self.name) is not None:
                return
            old = self._aside()
            with contextlib.suppress(OSError):  # damaged: out of the way
                final.rename(old / "old")
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def scratch(options: DataOptions, key: dict[str, Any]) -> Iterator[Path]:
    """A folder beside the entries for what making one needs meanwhile; removed at the end."""
    draft = Draft(options, key)
    with draft:
        yield draft.folder


def _temporary() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="gentool-"))
    except OSError as error:
        raise UserError(
            "neither the cache folder nor the system's temporary folder can be written; give "
            "--cache another folder"
        ) from error


def _splits(loaded: Loaded) -> list[tuple[str, Split]]:
    both = [("train", loaded.train), ("test", loaded.test)]
    return [(name, split) for name, split in both if split is not None]


def _hash(key: dict[str, Any]) -> str:
    return digest({**key, "format": FORMAT})[:32]


def _mapped(folder: Path, meta: dict[str, Any]) -> Loaded:
    """The entry's arrays; raises ValueError where they are not what a source gives."""

    def split(name: str) -> Split:
        x = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if (x.ndim, x.dtype) not in ((4, np.uint8), (2, np.float32)):
            raise ValueError(f"{name} is neither images nor points")
        labels, values = beside(f"{name}-labels.npy"), beside(f"{name}-attributes.npy")
        if labels is not None and (labels.dtype != np.int64 or labels.shape != (len(x),)):
            raise ValueError(f"the labels of {name} do not fit")
        shape = (len(x), len(attributes))
        if values is not None and (values.dtype != np.float32 or values.shape != shape):
            raise ValueError(f"the attributes of {name} do not fit")
        return Split(x, labels, values)

    def beside(file: str) -> np.ndarray | None:
        return np.load(folder / file, allow_pickle=False) if file in meta["files"] else None

    attributes = tuple(Attribute.from_json(one) for one in meta.get("attributes", ()))
    test = split("test") if "test.npy" in meta["files"] else None
    report = Report.from_json(meta["report"])
    classes = tuple(str(name) for name in meta["classes"])
    train, content = split("train"), str(meta["content"])
    return Loaded(train, test, classes, report, content, meta["shuffled"], attributes)


def _check(path: Path) -> tuple[int, int]:
    """A file's size, and the CRC of up to 64 blocks spread over it, the last byte included."""
    crc = 0
    with os.fdopen(open_regular(path, _LARGEST), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        last = max(size - _BLOCK, 0)
        for start in sorted({last * k // (_BLOCKS - 1) for k in range(_BLOCKS)}):
            file.seek(start)
            crc = zlib.crc32(file.read(_BLOCK), crc)
    return size, crc


def content(loaded: Loaded) -> str:
    """A hash of the arrays, labels, attributes and names: equal data, equal hash."""
    found = hashlib.sha256()
    for name, split in _splits(loaded):
        found.update(f"{name} {split.x.shape} {split.x.dtype.str}".encode())
        found.update(np.ascontiguousarray(split.x).data)
        if split.labels is not None:
            found.update(split.labels.astype("<i8").tobytes())
        if split.attributes is not None:
            found.update(split.attributes.astype("<f4").tobytes())
    found.update("\0".join(loaded.classes).encode())
    if loaded.attributes:
        names = [attribute.to_json() for attribute in loaded.attributes]
        found.update(json.dumps(names, sort_keys=True).encode())
    return found.hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...], kind: np.dtype) -> None:
    """The header of a .npy file. numpy leaves room in it for any number of rows."""
    facts = {"descr": kind.str, "fortran_order": False, "shape": tuple(map(int, shape))}
    np.lib.format.write_array_header_1_0(file, facts)


def _claim(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(2**20)  # macOS: writing is the portable way to claim
    at = os.lseek(descriptor, 0, os.SEEK_END)
    while at < size:
        at += os.write(descriptor, zeros[: size - at])


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _make_room(home: Path, keep: str) -> None:
    """Remove drafts of killed processes, then the entries unused for longest over the limit."""
    try:
        limit = float(os.environ.get("GENTOOL_CACHE_GB", DEFAULT_LIMIT_GB)) * 1e9
    except ValueError:
        limit = DEFAULT_LIMIT_GB * 1e9
    with litter.opened(home, marked=True) as folder:
        if folder is None:
            return
        litter.sweep(folder, _DRAFT)
        litter.sweep(folder, unfinished.NAME, unfinished.KEPT_SECONDS)
        used = []
        for name in filter(_ENTRY.fullmatch, litter.names(folder)):
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in (home / name).iterdir())
                used.append(((home / name / _META).stat().st_mtime, size, name))
        total = sum(size for _, size, _ in used)
        for _, size, name in sorted(used):
            if total <= limit or name == keep:
                continue
            litter.remove(folder, name)  # a process that has it mapped keeps its pages
            total -= size
