"""What killed processes leave behind, and the only way in which gentool removes it.

Removed is what lies directly in a folder, carries the name that gentool gives to work under way,
belongs to this user, and is a plain file or folder: no link is followed, neither on the way nor
below. In a cache, the folder must moreover be one that gentool made, which it marks.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gentool.files import read_regular

DAY = 24 * 3600.0
"""Seconds after which work under way that nobody touched belongs to a killed process."""

ASIDE = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp(\.[A-Za-z0-9]+)*|\.step-[0-9]+\.tmp")
"""Names of `gentool.files.written_aside`, and of a checkpoint being written."""

MARK = "CACHEDIR.TAG"
"""In every folder of the cache that gentool made (https://bford.info/cachedir/)."""

_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# This folder was made by gentool. What is in it can be made again, and gentool removes from it.
"""


def make_marked(folder: Path) -> None:
    """Make a folder of the cache; a new or empty one gets the mark. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        with contextlib.suppress(FileExistsError), (folder / MARK).open("x") as file:
            file.write(_TEXT)


@contextmanager
def opened(folder: Path, *, marked: bool = False) -> Iterator[int | None]:
    """The descriptor of a folder that may be swept; None where there is none, or it is a link.

    Args:
        marked: it must carry the mark of `make_marked` too.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor if not marked or _is_marked(descriptor) else None
    finally:
        os.close(descriptor)


def _is_marked(folder: int) -> bool:
    try:
        return read_regular(MARK, len(_TEXT), folder=folder) == _TEXT.encode()
    except OSError:
        return False


def names(folder: int) -> list[str]:
    """What lies in an open folder."""
    return os.listdir(folder)


def sweep(folder: int, name: re.Pattern[str], seconds: float = DAY) -> None:
    """Remove the entries of an open folder that are called so and untouched for so long."""
    for found in names(folder):
        with contextlib.suppress(OSError):
            if name.fullmatch(found) and time.time() - _own(folder, found).st_mtime >= seconds:
                remove(folder, found)


def remove(folder: int, name: str) -> None:
    """Remove one file or folder of this user from an open folder; what cannot go stays."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(_own(folder, name).st_mode):
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def _own(folder: int, name: str) -> os.stat_result:
    """The status of a plain file or folder of this user; raises OSError for anything else."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    mounted = status.st_dev != os.fstat(folder).st_dev
    if status.st_uid != os.geteuid() or not plain or mounted:
        raise PermissionError(f"{name} is not of this program's making")
    return status


def sweep_run(run: Path) -> None:
    """Remove what was being written aside in a run, whose lock is held."""
    for inside in (
        run,
        *(run / name for name in ("samples", "sampled", "state", "results", "latent", "restored")),
    ):
        with opened(inside) as folder:
            if folder is not None:
                sweep(folder, ASIDE, seconds=0)
