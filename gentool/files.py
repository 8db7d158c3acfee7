"""Writing files so that a reader sees the old content or the new, never a torn one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gentool.errors import UserError, printable


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fsync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def written_aside(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary name next to `path`; on success it is fsynced and renamed to `path`.

    Args:
        sync: wait for the disk, so that the file survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}"
    )
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        if sync:
            with aside.open("rb") as handle:
                os.fsync(handle.fileno())
        aside.chmod(0o666 & ~umask())
        aside.replace(path)
        if sync:
            fsync_directory(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def opened_for(target: Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file to write to: an open one as it is, or a new one that replaces the one at a path."""
    if not isinstance(target, str | Path):
        yield target
        return
    with written_aside(Path(target)) as aside, aside.open("wb") as file:
        yield file


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_dir(path: Path) -> bool:
    """Whether there is such a folder; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def expanded(text: str | Path) -> Path:
    """A path with its ``~`` resolved; raises UserError where that home folder is not known."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        shown = printable(str(text), 80)
        raise UserError(f"the home folder in {shown} is not known here; write it out") from error


def check_out(out: Path, force: bool = False, name: str = "--out") -> None:
    """Refuse to write over what is there, and names that cannot be written; raises UserError.

    Args:
        force: what is there may be replaced.
        name: of the option or argument that holds `out`.
    """
    shown = printable(str(out), 80)
    try:
        taken = out.is_file() or (out.is_dir() and any(out.iterdir()))
    except (OSError, ValueError) as error:
        raise UserError(f"{name} {shown} cannot be written; choose another name") from error
    if taken and not force:
        raise UserError(f"{shown} already exists; choose another {name}, or --force")


def open_regular(path: Path | str, most: int, *, folder: int | None = None) -> int:
    """The descriptor of a regular file, for reading.

    A link is not followed, a pipe not waited for, and no device is opened.

    Args:
        most: its size in bytes at most.
        folder: the descriptor of an open folder to which `path` is relative.

    Raises:
        OSError: where there is no such file; its text says what is wrong.
    """
    shown = str(path)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, dir_fd=folder)
    except ValueError as error:  # a zero byte
        raise OSError(errno.EINVAL, str(error), shown) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", shown) from error
        raise
    status = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "it is no regular file"
    elif status.st_size > most:
        problem = f"it has {status.st_size:,} bytes, and {most:,} are the most that are read"
    if problem:
        os.close(descriptor)
        raise OSError(errno.EINVAL, problem, shown)
    return descriptor


def read_regular(path: Path | str, most: int, *, folder: int | None = None) -> bytes:
    """What a regular file holds; see `open_regular`. Raises OSError."""
    with os.fdopen(open_regular(path, most, folder=folder), "rb") as file:
        size = os.fstat(file.fileno()).st_size  # as much memory is taken as is asked for
        return file.read(min(most, size))


def read_named(path: Path, most: int) -> str:
    """The text of a small file that a person named, be it a pipe such as ``<(…)``.

    Raises OSError, also where it is longer than `most` bytes, and ValueError where it is no UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most:,} bytes", str(path))
    return content.decode("utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, atomically."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, atomically."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by readable JSON, atomically."""
    write_text(path, readable_json(value) + "\n")


def readable_json(value: Any) -> str:
    """Indented JSON whose strings can be written anywhere: what is no text is escaped."""
    shown = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")
"""What JSON itself leaves as it is: terminal controls beyond ASCII, and halves of characters."""


@contextlib.contextmanager
def user_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into a sentence for the user."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space there, or " if full else ""
        raise UserError(
            f"cannot write {what} {printable(str(path))}: {reason}; "
            f"{advice}choose another place with --out"
        ) from error


def umask() -> int:
    """The permissions that a new file of this process does not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
