"""One process (group) a run: an advisory lock that names its owner and dies with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gentool.console import say
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder

LOCK = "lock"
MOST_PID = 2**32
TRIES, PAUSE = 3, 0.005
"""Whoever asks whether a run is being trained holds its lock for an instant; seconds between."""


@contextmanager
def locked(run: Path) -> Iterator[Folder]:
    """Hold the run, and its folder open; raises UserError where another process holds it.

    The kernel releases the lock of a process that dies, so what a crash leaves behind is only
    the note of who it was; it is taken over with a message.
    """
    with user_errors("the run", run):
        folder = Folder(run)
    with folder:
        descriptor = _acquire(folder)
        try:
            yield folder
        finally:
            if folder.holds(LOCK, descriptor):
                with contextlib.suppress(OSError):
                    folder.remove(LOCK)
            os.close(descriptor)


def _acquire(folder: Folder) -> int:
    """The descriptor of the run's lock file, locked and with a note of this process."""
    path = folder.path / LOCK
    with user_errors("the run's lock", path):
        while True:
            descriptor = folder.open_own(LOCK)
            try:
                _lock(folder, descriptor)
                # Whoever held it may have removed it between the opening and the locking. What is
                # locked then is no file of this run any more, and another process may have the new.
                if folder.holds(LOCK, descriptor):
                    _sign(descriptor)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _lock(folder: Folder, descriptor: int) -> None:
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            time.sleep(PAUSE)
    owner = _owner(descriptor) or "another process"
    raise UserError(
        f"the run {printable(str(folder.path))} is being trained by {owner}; "
        "stop that one first, or train into another --out"
    )


def _sign(descriptor: int) -> None:
    """Write down who holds the lock, in the place of who held it last."""
    if owner := _owner(descriptor):
        say(f"note: taking over the run from {owner}, which ended without saying so")
    os.ftruncate(descriptor, 0)
    note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    os.pwrite(descriptor, note.encode(), 0)


def _owner(descriptor: int) -> str:
    """``process 123 on host``, as the lock says, or nothing."""
    holder = noted(descriptor)
    return "" if holder is None else str(holder)


@dataclass(frozen=True)
class Holder:
    """The process that a lock's note names. Anybody may have written the note."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {printable(self.host, 80)}"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.host == socket.gethostname()


def noted(descriptor: int) -> Holder | None:
    """What the note in an open lock file says."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        pid, host = note["pid"], note["host"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(pid) is not int or not 0 < pid < MOST_PID or not isinstance(host, str):
        return None
    return Holder(pid, host)


def holder_of(folder: Folder) -> Holder | None:
    """Who trains a run, whose open folder this is; None where nobody does.

    The holder's pid is 0 where the run is held and the note does not say by whom.
    """
    try:
        file = folder.open(LOCK, 4096)
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return noted(file.fileno()) or Holder(0, "")
    return None
