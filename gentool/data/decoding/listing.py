"""The image files below a folder or in a zip, without opening one of them."""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from gentool.data.decoding.decode import SUFFIXES
from gentool.data.decoding.worker import Member
from gentool.data.decoding.zipdir import ZipDirectory
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


class Found(NamedTuple):
    """What a walk finds: stamps of the images, [name, size, mtime in ns, problem], and the rest."""

    root: str
    stamps: list[tuple[str, int, int, str]]
    ignored: int

    def listing(self) -> Listing:
        """The same as entries; made only when the images are decoded."""
        entries = [
            Entry(name, f"{self.root}/{name}", size, problem)
            for name, size, _, problem in self.stamps
        ]
        return Listing(entries, self.ignored)


def walk(root: str) -> Found:
    """Every image below `root`; hidden files and folders are passed by.

    Links are followed, each folder once. Raises UserError for a folder that cannot be read.
    """
    stamps: list[tuple[str, int, int, str]] = []
    ignored = 0
    seen: set[tuple[int, int]] = set()
    folders = [""]
    while folders:
        below = folders.pop()
        inside = _inside(f"{root}/{below}", seen)
        for one in inside:
            if one.name.startswith(".") or one.name == "__MACOSX":
                continue
            name = f"{below}/{one.name}" if below else one.name
            if _is_folder(one):
                folders.append(name)
            elif _is_image(one.name):
                stamps.append((name, *_stamp(one)))
            else:
                ignored += 1
        if len(stamps) > MAX_FILES:
            raise UserError(f"{printable(root)} holds more than {MAX_FILES:,} images")
    return Found(root, stamps, ignored)


def _inside(folder: str, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where the folder has been `seen`."""
    try:
        status = os.stat(folder)  # noqa: PTH116  (pathlib would take half the time of a start)
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            return sorted(found, key=lambda one: one.name)
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be read: {error.strerror}") from error


def _is_folder(found: os.DirEntry[str]) -> bool:
    try:
        return found.is_dir()
    except OSError:  # a link to itself
        return False


def _stamp(found: os.DirEntry[str]) -> tuple[int, int, str]:
    try:
        status = found.stat()
    except OSError as error:
        return 0, 0, f"cannot be read ({error.strerror})"
    # A pipe or a device would block or never end.
    problem = "" if stat.S_ISREG(status.st_mode) else "is no regular file"
    return status.st_size, status.st_mtime_ns, problem


def members(directory: ZipDirectory) -> Listing:
    """Every image in the zip. Raises UserError for a directory that is damaged or hostile."""
    entries: dict[str, Entry] = {}
    ignored = 0
    for found in directory.entries():
        name = found.name
        if _HIDDEN.search(name):
            continue
        if not _is_image(name):
            ignored += 1
            continue
        # Of two entries with one name the later counts, as for every unpacker.
        entries[name] = Entry(name, found.member, found.member.stored, found.problem)
    return Listing(list(entries.values()), ignored)


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES
