"""Writing files so that a reader sees the old content or the new, never a torn one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary name next to `path`; on success it is fsynced and renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}"
    )
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb") as handle:
            os.fsync(handle.fileno())
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
        fsync_directory(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


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


def sweep(folder: Path) -> None:
    """Remove what was being written aside where a process was killed."""
    for path in list(folder.rglob(".*.tmp*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, atomically."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by readable JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def user_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into a sentence for the user."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot write {what} {printable(str(path))}: {reason}; choose another place with --out"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
