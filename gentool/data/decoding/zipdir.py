"""The directory of a zip file, read with bounded memory. Nothing is ever extracted.

The standard `zipfile` would do, but it builds every entry before the first can be refused: for a
million of them 640 MB and, at every start, ten times the seconds. Layout: APPNOTE 6.3, sections
4.3.12 (central directory) to 4.3.16 (end record).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gentool.data.decoding.worker import Member
from gentool.errors import UserError, printable

MAX_ENTRIES = 1_000_000
MAX_DIRECTORY_BYTES = 256 * 2**20

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
# The 46 fixed bytes of an entry: magic, flags, method, CRC, stored size, size, the lengths of
# name, extra field and comment, the Unix mode (upper half of the attributes), the offset.
_ENTRY = struct.Struct("<4s4x2H4x3L3H6xHL")
_OUTSIDE = re.compile(r"^/|^.:|(^|/)\.\.(/|$)|\0")
_TYPICAL_ENTRY = 80  # bytes
_FULL = 0xFFFFFFFF


class ZipEntry(NamedTuple):
    """One file of the archive: its name, its place, and why it cannot be read, if so."""

    name: str
    member: Member
    problem: str = ""


class ZipDirectory:
    """The central directory of `path`.

    Raises UserError for a file that is no zip, is cut short, has too many entries, or whose
    entries overlap (the trick of zip bombs). `digest` changes with any name, size or CRC; `count`
    is about how many entries there are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown = printable(str(path))
        try:
            with path.open("rb", buffering=0) as file:
                self.file_size = os.fstat(file.fileno()).st_size
                self._raw, self._shift = self._read(file.fileno())
                self.count = len(self._raw) // _TYPICAL_ENTRY
        except OSError as error:
            raise UserError(f"{self.shown} cannot be read: {error.strerror or error}") from error
        self.digest = hashlib.sha256(self._raw).hexdigest()

    def mentions(self, names: Iterable[str]) -> bool:
        """Whether any of the names may stand in the directory; a quick look at its bytes."""
        return any(name.encode() in self._raw for name in names)

    def entries(self) -> Iterator[ZipEntry]:
        """Every file, folders left out. Raises UserError at a name that leaves the archive."""
        at, stored_in_all = 0, 0
        while at < len(self._raw):
            if len(self._raw) - at < _ENTRY.size:
                raise self._damaged()
            fields = _ENTRY.unpack_from(self._raw, at)
            magic, flags, method, crc, stored, size, *lengths, mode, offset = fields
            after_name = at + _ENTRY.size + lengths[0]
            name_bytes = self._raw[at + _ENTRY.size : after_name]
            extra = self._raw[after_name : after_name + lengths[1]]
            at += _ENTRY.size + sum(lengths)
            if magic != b"PK\x01\x02" or at > len(self._raw):
                raise self._damaged()
            if extra:
                size, stored, offset = _wide(extra, [size, stored, offset])
            stored_in_all += stored
            if stored_in_all > self.file_size:
                raise UserError(
                    f"{self.shown}: its entries overlap or are longer than the file; it is damaged "
                    "or made to do harm, and is not read"
                )
            name = name_bytes.decode("utf-8" if flags & 0x800 else "cp437", "replace")
            if "\\" in name:
                name = name.replace("\\", "/")
            if _OUTSIDE.search(name):
                raise self._outside(name)
            if name.endswith("/"):
                continue
            member = Member(offset + self._shift, stored, size, method, crc)
            problem = _problem(flags, method, mode, stored, size)
            yield ZipEntry(name, member, problem)

    def _read(self, descriptor: int) -> tuple[bytes, int]:
        """The directory's bytes, and by how much offsets are to be shifted (data before it)."""
        tail_at = max(self.file_size - 65_557, 0)  # the end record and the longest comment
        tail = os.pread(descriptor, 65_557, tail_at)
        found = tail.rfind(_END)
        if found < 0 or len(tail) - found < 22:
            raise UserError(
                f"{self.shown} is no zip file, or is cut short: its directory is missing; fetch "
                "or pack it again"
            )
        count, size, offset = struct.unpack_from("<HLL", tail, found + 10)
        end = tail_at + found
        if count == 0xFFFF or _FULL in (size, offset):
            locator = os.pread(descriptor, 20, max(end - 20, 0))
            if locator[:4] == _LOCATOR64:
                end = struct.unpack_from("<Q", locator, 8)[0]
                record = os.pread(descriptor, 56, end) if end < self.file_size else b""
                if len(record) < 56 or record[:4] != _END64:
                    raise self._damaged()
                count, size, offset = struct.unpack_from("<QQQ", record, 32)
        if count > MAX_ENTRIES or size > MAX_DIRECTORY_BYTES:
            raise UserError(
                f"{self.shown} has {count:,} entries, more than the {MAX_ENTRIES:,} allowed in a "
                "zip; unpack it and give the folder"
            )
        if size > end or (shift := end - size - offset) < 0:
            raise self._damaged()
        return os.pread(descriptor, size, end - size), shift

    def _outside(self, name: str) -> UserError:
        return UserError(
            f"{self.shown} holds the name {printable(name, 80)!r}, which leads outside the "
            "archive; it is damaged or made to do harm, and is not read"
        )

    def _damaged(self) -> UserError:
        return UserError(f"{self.shown} has a damaged zip directory; fetch or pack it again")


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """The 64-bit sizes and offset of the extra field 1, where the 32-bit ones are all ones."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = [
                int.from_bytes(extra[k : k + 8], "little")
                for k in range(at + 4, min(at + 4 + length, len(extra)) - 7, 8)
            ]
            return [wide.pop(0) if value == _FULL and wide else value for value in values]
        at += 4 + length
    return values


def _problem(flags: int, method: int, mode: int, stored: int, size: int) -> str:
    if flags & 1:
        return "is encrypted"
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if method not in (0, 8):
        return f"is compressed by method {method}; pack with store or deflate"
    if method == 0 and stored != size:
        return "has two different sizes"
    return ""
