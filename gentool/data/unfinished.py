"""An entry of the cache that a killed process left half decoded, for the next one to go on with.

Its folder lies beside the entries under a name that follows from theirs, and has one holder at a
time. In it, a journal has a line for every batch whose pixels are on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gentool.files import read_regular

NAME = re.compile(r"\.[0-9a-f]{32}-partial_")
KEPT_SECONDS = 7 * 24 * 3600.0
"""Untouched for so long, it is not gone on with, but removed."""

_LOCK, _JOURNAL, _LARGEST = "lock", "journal.jsonl", 2**30
_EVERY_SECONDS = 3.0
_ANSWER = {"sizes", "modes", "frames", "bad", "stop"}  # of `Worker.decode`


class Held:
    """The folder of an unfinished entry, while this process works on it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    def release(self) -> None:
        """Let others have it; the folder stays as it is."""
        os.close(self._lock)

    def finish(self, moved_to: Path) -> None:
        """Remove what only an unfinished entry has, of one that is now called otherwise."""
        for name in (_LOCK, _JOURNAL):
            (moved_to / name).unlink(missing_ok=True)


def hold(home: Path, name: str) -> Held | None:
    """The folder of the unfinished entry `name`, made where there is none.

    None where another process is at it, or where the folder is not of this user's making, so that
    nothing in it can lead elsewhere. Raises OSError where it cannot be made.
    """
    path = home / f".{name}-partial_"
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if not _own(path.lstat(), stat.S_ISDIR):
            return None
        lock = os.open(path / _LOCK, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder before may have finished it, so that it is no more, or another.
        if not os.path.samestat(os.fstat(lock), (path / _LOCK).lstat()):
            raise BlockingIOError
        if not all(_own(one.lstat(), stat.S_ISREG) for one in path.iterdir()):
            raise BlockingIOError
    except OSError:
        os.close(lock)
        return None
    return Held(path, lock)


def _own(status: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind, only this user can have made it, and it has no other name."""
    folder = stat.S_ISDIR(status.st_mode)
    safe = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) if folder else status.st_nlink == 1
    return kind(status.st_mode) and status.st_uid == os.geteuid() and safe


class Journal:
    """Which batches are done, and what was found in them. A context manager, which stops writing.

    A line is written only after the arrays have been synced to the disk, so what it says is true
    after a power cut too. That happens in a thread, every few seconds.

    Args:
        folder: of the entry, in which the arrays ``NAME.npy`` lie.
        plan: everything that the batches depend on, as JSON. A journal of another plan counts for
            nothing.
    """

    def __init__(self, folder: Path, arrays: Sequence[Path], plan: dict[str, Any]) -> None:
        self.done: dict[int, dict[str, Any]] = {}
        self._arrays, self._path, self._folder = arrays, folder / _JOURNAL, folder
        self._waiting: list[str] = []
        self._written, self._writing = time.monotonic(), Future[None]()
        self._writing.set_result(None)
        self._thread = ThreadPoolExecutor(1)
        head, answers, length = _read(self._path)
        if head == plan:
            self.done = answers
            os.truncate(self._path, length)  # a line may be torn
        else:
            self._path.write_text(json.dumps(plan) + "\n", "ascii")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def add(self, batch: int, answer: dict[str, Any]) -> None:
        """A batch is done. Raises OSError where its pixels or this line cannot be written."""
        self._waiting.append(json.dumps([batch, answer]) + "\n")
        if time.monotonic() - self._written > _EVERY_SECONDS and self._writing.done():
            self._writing.result()
            lines, self._waiting = self._waiting, []
            self._writing = self._thread.submit(self._write, lines)
            self._written = time.monotonic()

    def _write(self, lines: list[str]) -> None:
        for path in self._arrays:
            _sync(path)
        with self._path.open("a", encoding="ascii") as file:
            file.writelines(lines)
        _sync(self._path)
        os.utime(self._folder)  # in use, so not to be swept

    @staticmethod
    def plan_in(folder: Path) -> dict[str, Any]:
        """What the journal in a folder was written for; empty where there is none."""
        return _read(folder / _JOURNAL)[0]


def _read(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]], int]:
    """The plan, the answer of each batch, and the bytes of all this; a torn line ends it."""
    answers: dict[int, dict[str, Any]] = {}
    length = 0
    try:
        head, *lines = read_regular(path, _LARGEST).decode("ascii").splitlines(keepends=True)
        if not head.endswith("\n"):
            return {}, {}, 0
        plan = json.loads(head)
        length = len(head)
        for line in lines:
            if not line.endswith("\n"):
                break
            length += len(line)
            batch, answer = json.loads(line)
            if answer.keys() == _ANSWER:
                answers[int(batch)] = answer
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}, {}, 0
    return (plan, answers, length) if isinstance(plan, dict) else ({}, {}, 0)


def discard(folder: Path) -> None:
    """Forget what the journal says: the arrays are about to change."""
    (folder / _JOURNAL).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
