"""Folders of code: what lies there is run, so nobody else may be able to put anything there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """The descriptor of a folder that only this user, or root, may change.

    What is checked is the open folder, not its name, so a swap afterwards gains nothing. Raises
    ValueError where others may write, OSError where there is none.
    """
    descriptor = os.open(path, _FOLDER)
    try:
        require_private(os.fstat(descriptor), str(path))
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(folder: int, name: str) -> Iterator[int]:
    """The descriptor of a regular file in an open folder; raises as `opened_folder`. No link."""
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is no regular file")
        require_private(status, name)
        yield descriptor
    finally:
        os.close(descriptor)


def require_private(status: os.stat_result, shown: str) -> None:
    """Raise ValueError unless a file or folder is this user's or root's, and theirs alone."""
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError(f"{shown} belongs to another user")
    if status.st_mode & 0o022:
        raise ValueError(f"others may write to {shown}")


def make_private(path: Path) -> None:
    """Make a folder of this user with mode 0700, or give an own one that mode.

    Raises:
        ValueError: where it is another's.
        OSError: where it cannot be made.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, _FOLDER)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise ValueError(f"{path} belongs to another user")
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def named_by_others(path: Path) -> Path | None:
    """The first folder on the way to `path` in which somebody else could put another in its place.

    For code that is found by its name, by programs that do not check. A sticky folder, such as
    /tmp, is none: only its owner renames what lies there.
    """
    for folder in Path(os.path.realpath(path)).parents:
        status = folder.stat()
        shared = status.st_mode & 0o002 or (
            status.st_mode & 0o020 and not _own_group(status.st_gid)
        )
        if status.st_uid not in (0, os.geteuid()) or (shared and not status.st_mode & stat.S_ISVTX):
            return folder
    return None


def _own_group(group: int) -> bool:
    """Whether a group is the user's own: many systems give each user one of the same name."""
    import grp
    import pwd

    try:
        return grp.getgrgid(group).gr_name == pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
