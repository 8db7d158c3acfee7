"""Where this user's runs lie: a small file each, so that they are found from any directory.

Nothing depends on it. An entry that is lost costs a name; one that leads nowhere is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from gentool.cachefolder import cache_folder
from gentool.errors import UserError
from gentool.files import is_dir, read_regular, write_bytes
from gentool.folder import Folder

MOST = 5000
"""Runs that are remembered; of more, the ones that were started last."""

LONGEST_PATH = 8192
"""Bytes."""

ENTRY = re.compile(r"[0-9a-f]{32}")


def place() -> Path:
    """The folder of the entries, beside what the cache holds."""
    return cache_folder() / "runs"


def remember(path: Path) -> None:
    """Note a run's folder; where that cannot be written down, it is not."""
    with contextlib.suppress(OSError, UserError):
        where = os.fsencode(path.resolve())
        if b"\n" not in where and len(where) < LONGEST_PATH:
            write_bytes(place() / _name(where), where + b"\n")


def forget(path: Path) -> None:
    """Take a run out again; its folder stays as it is."""
    with contextlib.suppress(OSError, UserError):
        (place() / _name(os.fsencode(path.resolve()))).unlink(missing_ok=True)


def known() -> list[Path]:
    """The folders that are remembered and there, oldest entry first.

    An entry is dropped where its run was deleted. Where the folder around it is gone as well, a
    disk may only be absent, and the entry waits.
    """
    found: list[tuple[float, Path]] = []
    try:
        folder = Folder(place())
    except (OSError, UserError):
        return []
    with folder:
        for name in folder.names():
            with contextlib.suppress(OSError):
                if ENTRY.fullmatch(name) is None:
                    continue
                when = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False).st_mtime
                path = _path(folder, name)
                if path is not None and is_dir(path):
                    found.append((when, path))
                elif path is None or is_dir(path.parent):
                    folder.remove(name)
    return [path for _, path in sorted(found)][-MOST:]


def _path(folder: Folder, name: str) -> Path | None:
    """The path that an entry holds; None for what is no entry of ours."""
    where = read_regular(name, LONGEST_PATH, folder=folder.descriptor).rstrip(b"\n")
    path = Path(os.fsdecode(where))
    if b"\0" in where or b"\n" in where or not path.is_absolute() or _name(where) != name:
        return None
    return path


def _name(where: bytes) -> str:
    return hashlib.sha256(where).hexdigest()[:32]
