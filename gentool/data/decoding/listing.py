"""The image files below a folder or in a zip, without opening one of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gentool.data.decoding.decode import SUFFIXES, BadImageError
from gentool.data.decoding.entries import Entries
from gentool.data.decoding.worker import Member, read
from gentool.data.decoding.zipdir import ZipDirectory
from gentool.data.tables.find import LabelFile, is_label_file, of_path
from gentool.data.tables.table import Table
from gentool.errors import UserError, printable

MAX_FILES = 10_000_000

HIDDEN = re.compile(r"(^|/)(\.|__MACOSX(/|$))")


class Stamp(NamedTuple):
    """What tells whether a file has changed, and why it cannot be read, if so."""

    name: str
    size: int
    time: int  # ns
    problem: str


class Listing(NamedTuple):
    entries: Entries
    ignored: int  # files that are no images by their name
    tables: list[LabelFile]  # label files among the images
    archives: tuple[str, ...] = ()  # what the members of `entries` lie in
    known: tuple[Table, ...] = ()  # what the source itself says of its images


class Found(NamedTuple):
    """What a walk finds: the images, a hash of their stamps, the label files, and the rest."""

    entries: Entries
    digest: str
    tables: list[Stamp]
    ignored: int

    def listing(self) -> Listing:
        root = self.entries.root
        files = [of_path(f"{root}/{one.name}", one.name) for one in self.tables]
        return Listing(self.entries, self.ignored, files)


def walk(root: str) -> Found:
    """Every image below `root`; hidden files and folders are passed by.

    Links are followed, each folder once. Raises UserError for a folder that cannot be read.
    """
    entries = Entries(root)
    stamps = hashlib.sha256()  # of the JSON list of all stamps
    tables: list[Stamp] = []
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
            elif is_image(one.name):
                stamp = _stamp(name, one)
                stamps.update((", " if len(entries) else "[").encode() + json.dumps(stamp).encode())
                entries.add(name, stamp.size, problem=stamp.problem)
            elif is_label_file(one.name):
                tables.append(_stamp(name, one))
            else:
                ignored += 1
        if len(entries) > MAX_FILES:
            raise UserError(f"{printable(root)} holds more than {MAX_FILES:,} images")
    stamps.update(b"]" if len(entries) else b"[]")
    return Found(entries, stamps.hexdigest(), tables, ignored)


def has_image(root: Path) -> bool:
    """Whether any image lies below a folder."""
    seen: set[tuple[int, int]] = set()
    folders = [str(root)]
    while folders:
        for one in _inside(folders.pop(), seen):
            if is_image(one.name) and not one.name.startswith("."):
                return True
            if _is_folder(one) and not HIDDEN.search(one.name):
                folders.append(one.path)
    return False


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


def _stamp(name: str, found: os.DirEntry[str]) -> Stamp:
    try:
        status = found.stat()
    except OSError as error:
        return Stamp(name, 0, 0, f"cannot be read ({error.strerror})")
    # A pipe or a device would block or never end.
    problem = "" if stat.S_ISREG(status.st_mode) else "is no regular file"
    return Stamp(name, status.st_size, status.st_mtime_ns, problem)


def members(directory: ZipDirectory) -> Listing:
    """Every image in the zip. Raises UserError for a directory that is damaged or hostile."""
    entries = Entries()
    tables: dict[str, LabelFile] = {}
    ignored = 0
    for found in directory.entries():
        name = found.name
        if HIDDEN.search(name):
            continue
        if is_image(name):
            entries.add(name, found.member.stored, found.member, found.problem)
        elif is_label_file(name) and not found.problem:
            tables[name] = LabelFile(name, partial(_read, directory.path, found.member))
        else:
            ignored += 1
    archives = (str(directory.path),)
    return Listing(entries.without_earlier(), ignored, list(tables.values()), archives)


def _read(archive: Path, member: Member) -> bytes:
    """One file of the zip. Raises OSError where it is damaged or too large."""
    descriptor = os.open(archive, os.O_RDONLY)
    try:
        return read(member, (descriptor,))
    except BadImageError as error:
        raise OSError(f"it {error}") from error
    finally:
        os.close(descriptor)


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by the end of its name."""
    return name[name.rfind(".") :].lower() in SUFFIXES
