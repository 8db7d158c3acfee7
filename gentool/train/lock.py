"""One process (group) a run: an advisory lock that names its owner and dies with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gentool.console import say
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder

LOCK = "lock"
MOST_PID = 2**32


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
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        owner = _owner(descriptor) or "another process"
        raise UserError(
            f"the run {printable(str(folder.path))} is being trained by {owner}; "
            "stop that one first, or train into another --out"
        ) from None


def _sign(descriptor: int) -> None:
    """Write down who holds the lock, in the place of who held it last."""
    if owner := _owner(descriptor):
        say(f"note: taking over the run from {owner}, which ended without saying so")
    os.ftruncate(descriptor, 0)
    note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    os.pwrite(descriptor, note.encode(), 0)


def _owner(descriptor: int) -> str:
    """``process 123 on host``, as the lock says, or nothing."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        pid, host = note["pid"], note["host"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    if type(pid) is not int or not 0 < pid < MOST_PID or not isinstance(host, str):
        return ""
    return f"process {pid} on {printable(host, 80)}"
