"""A folder or a zip of images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gentool.data import cache
from gentool.data.dataset import Loaded
from gentool.data.decoding.listing import Listing, has_image, members, walk
from gentool.data.decoding.zipdir import ZipDirectory
from gentool.data.registry import Request
from gentool.data.sources.decoded import MixedSizesError, load_images
from gentool.data.tables.find import NAMES, PARTITIONS

__all__ = ["MixedSizesError", "accepts_folder", "accepts_zip", "load_folder", "load_zip"]


def accepts_folder(path: Path) -> bool:
    """A folder with an image somewhere below it."""
    return path.is_dir() and has_image(path)


def accepts_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06") or path.suffix.lower() == ".zip"


def load_folder(request: Request) -> Loaded:
    """All images below a folder."""
    found = walk(os.path.realpath(request.path))
    key: dict[str, object] = {
        "source": "folder",
        "root": found.entries.root,
        "files": found.digest,
    }
    if found.tables:
        key["tables"] = cache.digest(found.tables)
    about = len(found.entries), found.entries.bytes()
    return load_images(request, key, about, found.listing)


def load_zip(request: Request, check: Callable[[], None] = lambda: None) -> Loaded:
    """All images in a zip, which is never unpacked.

    Args:
        check: called before they are decoded.
    """
    directory = ZipDirectory(request.path)
    key: dict[str, object] = {
        "source": "zip",
        "size": directory.file_size,
        "directory": directory.digest,
    }
    if directory.mentions((*NAMES, *PARTITIONS)):
        key["tables"] = True  # once, such files were passed by
    about = directory.count, directory.file_size

    def listing() -> Listing:
        check()
        return members(directory)

    return load_images(request, key, about, listing)
