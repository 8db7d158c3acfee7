"""The members of a tar file, read with bounded memory. Nothing is ever extracted.

The standard `tarfile` would do, but it keeps every member, and it reads the extended headers of a
hostile file whole, however long they say they are. Layout: POSIX.1-2001 (ustar, pax), and GNU's
long names and base-256 numbers.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gentool.errors import UserError, printable

MAX_HEADER_BYTES = 2**20
"""Of the extended headers of one member."""

_BLOCK = 512
_BUFFER = 2**20
_OUTSIDE = re.compile(r"^/|^.:|(^|/)\.\.(/|$)|\0")
_KINDS = {
    b"1": "is a link",
    b"2": "is a symbolic link",
    b"S": "is a sparse file",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
}
_FILES = (b"0", b"\0", b"7")


class TarEntry(NamedTuple):
    """One file of the archive: its name, where its bytes are, and why it cannot be read, if so."""

    name: str
    offset: int
    size: int
    problem: str = ""


def entries(path: Path) -> Iterator[TarEntry]:
    """Every member but folders, in the file's order.

    Raises UserError for a file that is no tar or is cut short, and at a name that leads outside.
    """
    shown = printable(str(path))
    with path.open("rb", buffering=_BUFFER) as file:
        length = os.fstat(file.fileno()).st_size
        facts: dict[str, str] = {}  # of the next member, from extended headers
        at = 0
        while (block := file.read(_BLOCK)) and block.count(0) < _BLOCK:  # zeros end it
            if len(block) < _BLOCK:
                raise UserError(f"{shown} is cut short: a header at byte {at:,} is not whole")
            if not _is_sound(block):
                what = "is no tar file" if at == 0 else "is damaged"
                raise UserError(f"{shown} {what}: the header at byte {at:,} has a wrong checksum")
            size, kind = _number(block[124:136]), block[156:157]
            if kind not in (b"x", b"g", b"L", b"K") and "size" in facts:
                size = int(facts["size"])
            start = at + _BLOCK
            if size < 0 or start + size > length:
                raise UserError(f"{shown} is cut short: a member at byte {at:,} goes on beyond it")
            at = start + -(-size // _BLOCK) * _BLOCK
            if kind in (b"x", b"g", b"L", b"K"):
                if size > MAX_HEADER_BYTES:
                    raise UserError(
                        f"{shown} has an extended header of {size:,} bytes; it is damaged or made "
                        "to do harm, and is not read"
                    )
                content = file.read(size)
                if kind == b"x":
                    facts |= _pax(content)
                elif kind == b"L":
                    facts["path"] = _text(content)
                file.seek(at)
                continue
            name = facts.get("path") or _name(block)
            problem = "is a sparse file" if "sparse" in facts else _KINDS.get(kind, "")
            facts = {}
            if _OUTSIDE.search(name):
                raise UserError(
                    f"{shown} holds the name {printable(name, 80)!r}, which leads outside the "
                    "archive; it is damaged or made to do harm, and is not read"
                )
            if problem or (kind in _FILES and not name.endswith("/")):
                yield TarEntry(name.removeprefix("./"), start, size, problem)
            file.seek(at)


def _is_sound(block: bytes) -> bool:
    """Whether a header has its checksum: the sum of its bytes, with blanks for the checksum's own.

    Adler-32's lower half is 1 plus the sum, modulo 65521, ten times as quickly as a sum in Python.
    """
    said, own = _number(block[148:156]), sum(block[148:156])
    most = _BLOCK * 255
    return 0 <= said <= most and (said - 8 * 32 + own + 1) % 65521 == zlib.adler32(block) & 0xFFFF


def _number(field: bytes) -> int:
    """Octal digits, or a binary number under a set first bit; -1 for neither."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else -1


def _name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape").replace("\\", "/")


def _pax(content: bytes) -> dict[str, str]:
    """``path`` and ``size`` of a pax header, and whether it speaks of a sparse file."""
    facts: dict[str, str] = {}
    at = 0
    while at < len(content):
        length, space, _ = content[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or not 0 < int(length) <= len(content) - at:
            break
        record = content[at + len(length) + 1 : at + int(length) - 1]
        name, _, value = record.partition(b"=")
        if name == b"path":
            facts["path"] = _text(value)
        elif name == b"size" and value.isdigit() and len(value) < 20:
            facts["size"] = value.decode()
        elif name.startswith(b"GNU.sparse"):
            facts["sparse"] = "yes"
        at += int(length)
    return facts
