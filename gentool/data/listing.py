"""The image files below a folder or in a zip, without opening one of them."""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from gentool.data.decode import SUFFIXES
from gentool.data.worker import Member
from gentool.data.zipdir import ZipDirectory
from gentool.errors import UserError, printable

MAX_FILES = 10_000_000

_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX(/|$))")


class Entry(NamedTuple):
    """An image file: its name below the source ("train/cat/1.png") and where it lies."""

    name: str
    where: str | Member
    size: int  # bytes
    problem: str = ""  # why it cannot be read, known from the listing alone


class Listing(NamedTuple):
    entries: list[Entry]
    ignored: int  # files that are no images by their name


def walk(root: str) -> tuple[Listing, list[object]]:
    """Every image below `root` with [name, size, mtime]; hidden files and folders are passed by.

    Links are followed, each folder once.
    """
    entries: list[Entry] = []
    stamps: list[object] = []
    ignored = 0
    seen: set[tuple[int, int]] = set()
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            status = os.stat(os.path.join(root, below))  # noqa: PTH116, PTH118  (50,000 of them)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, below)) as found:  # noqa: PTH118
                inside = sorted(found, key=lambda one: one.name)
        except OSError as error:
            where = printable(os.path.join(root, below))  # noqa: PTH118
            raise UserError(f"{where} cannot be read: {error.strerror}") from error
        for one in inside:
            if one.name.startswith(".") or one.name == "__MACOSX":
                continue
            name = f"{below}/{one.name}" if below else one.name
            if _is_folder(one):
                folders.append(name)
            elif not _is_image(one.name):
                ignored += 1
            else:
                entry = _entry(name, one)
                entries.append(entry)
                stamps.append([name, entry.size, entry.problem or one.stat().st_mtime_ns])
        if len(entries) > MAX_FILES:
            raise UserError(f"{printable(root)} holds more than {MAX_FILES:,} images")
    return Listing(entries, ignored), stamps


def _is_folder(found: os.DirEntry[str]) -> bool:
    try:
        return found.is_dir()
    except OSError:  # a link to itself
        return False


def _entry(name: str, found: os.DirEntry[str]) -> Entry:
    try:
        status = found.stat()
    except OSError as error:
        return Entry(name, found.path, 0, f"cannot be read ({error.strerror})")
    # A pipe or a device would block or never end.
    problem = "" if stat.S_ISREG(status.st_mode) else "is no regular file"
    return Entry(name, found.path, status.st_size, problem)


def members(directory: ZipDirectory) -> Listing:
    """Every image in the zip. Raises UserError for a directory that is damaged or hostile."""
    entries: dict[str, Entry] = {}
    ignored = 0
    for found in directory.entries():
        if _HIDDEN.search(found.name):
            continue
        if not _is_image(found.name):
            ignored += 1
            continue
        # Of two entries with one name the later counts, as for every unpacker.
        entries[found.name] = Entry(found.name, found.member, found.member.stored, found.problem)
    return Listing(list(entries.values()), ignored)


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES
