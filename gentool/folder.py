"""A folder held open: what lies in it is reached by name, and never through a link.

The folder of a run may come from somebody else. A file of it that is a symbolic link, a pipe, a
device or a file of another name would lead reading and writing elsewhere, or to no end. So the
folder is opened once, and everything in it by its descriptor: regular files of bounded size only,
written aside and renamed. It stays the same folder when it is renamed meanwhile, and is not made
anew where it was deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from gentool.files import open_regular, read_regular, readable_json, umask

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """An open folder, closed as a context; every method may raise OSError.

    Names are those of direct entries: one with a slash, or ``..``, is refused.

    Attributes:
        descriptor: for the functions of `os` that take ``dir_fd``.
        path: what it was opened as, for messages only.
    """

    def __init__(self, path: Path, *, inside: Folder | None = None) -> None:
        """Open a folder that the user names; with `inside`, one of another folder, by its name."""
        self.path: Path = path if inside is None else inside.path / path
        if inside is None:
            self.descriptor = os.open(path, _FOLDER)
        else:
            name = _checked(str(path))
            self.descriptor = _no_link(
                lambda: os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=inside.descriptor), self.path
            )

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; doing it twice is fine."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def folder(self, name: str, *, make: bool = False) -> Folder:
        """A folder in this one; `make` makes it where there is nothing of that name."""
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_checked(name), dir_fd=self.descriptor)
        return Folder(Path(name), inside=self)

    def names(self) -> list[str]:
        """What lies here, sorted."""
        with os.scandir(self.descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def has(self, name: str) -> bool:
        """Whether there is anything of that name, be it a link to nothing."""
        try:
            os.stat(_checked(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def is_gone(self) -> bool:
        """Whether the folder was deleted meanwhile."""
        return os.fstat(self.descriptor).st_nlink == 0

    def is_at(self, path: Path) -> bool:
        """Whether `path` leads to this folder."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def holds(self, name: str, descriptor: int) -> bool:
        """Whether the entry of that name is the open file that `descriptor` belongs to."""
        try:
            there = os.stat(_checked(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def links(self) -> list[str]:
        """The entries that are symbolic links, sorted."""
        with os.scandir(self.descriptor) as entries:
            return sorted(entry.name for entry in entries if entry.is_symlink())

    def open(self, name: str, most: int) -> BinaryIO:
        """A regular file of at most `most` bytes, for reading."""
        descriptor = open_regular(_checked(name), most, folder=self.descriptor)
        return os.fdopen(descriptor, "rb")

    def read(self, name: str, most: int) -> bytes:
        """What a regular file of at most `most` bytes holds."""
        return read_regular(_checked(name), most, folder=self.descriptor)

    def open_own(self, name: str) -> int:
        """The descriptor of a file to change in place, made where there is none.

        A file with a second name is refused: what is written here would be written there too.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = _no_link(
            lambda: os.open(_checked(name), flags, 0o666, dir_fd=self.descriptor), self.path / name
        )
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            problem = "it is no regular file"
        elif status.st_nlink > 1:
            problem = "it is a hard link, so writing would change another file; copy it"
        else:
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EINVAL, problem, str(self.path / name))

    @contextlib.contextmanager
    def written(self, name: str) -> Iterator[BinaryIO]:
        """A new file under another name; on success it is fsynced and takes its place."""
        final = Path(_checked(name))
        # As `gentool.litter` knows work under way.
        aside = f".{final.stem}.{secrets.token_hex(4)}.tmp{final.suffix}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(aside, flags, 0o600, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fchmod(descriptor, 0o666 & ~umask())
                os.fsync(descriptor)
            self.rename(aside, name)
            self.sync()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside, dir_fd=self.descriptor)
            raise

    def write(self, name: str, content: bytes) -> None:
        """Replace a file by `content`, atomically."""
        with self.written(name) as file:
            file.write(content)

    def write_json(self, name: str, value: Any) -> None:
        """Replace a file by readable JSON, atomically."""
        self.write(name, (readable_json(value) + "\n").encode())

    def rename(self, old: str, new: str) -> None:
        """Give an entry another name, in the place of what has it."""
        here = self.descriptor
        os.rename(_checked(old), _checked(new), src_dir_fd=here, dst_dir_fd=here)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that it holds; a link goes, not what it leads to."""
        status = os.stat(_checked(name), dir_fd=self.descriptor, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=self.descriptor)
        else:
            os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make what was renamed here survive a power cut."""
        os.fsync(self.descriptor)


def _checked(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise OSError(errno.EINVAL, "no name of a file", name)
    return name


def _no_link(opened: Any, path: Path) -> int:
    """What `opened` returns; where a link is in the way, the OSError says so."""
    try:
        return int(opened())
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and path.is_symlink()):
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from error
        raise
