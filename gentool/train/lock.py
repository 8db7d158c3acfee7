"""One process (group) a run: an advisory lock that names its owner and dies with it."""

from __future__ import annotations

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


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run; raises UserError, with the owner, where another process holds it.

    The kernel releases the lock of a process that dies, so what a crash leaves behind is only
    the note of who it was; it is taken over with a message.
    """
    path = run / "lock"
    with user_errors("the run's lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        owner = _owner(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"the run {printable(str(run))} is being trained by {owner or 'another process'}; "
                "stop that one first, or train into another --out"
            ) from None
        if owner:
            say(f"note: taking over the run from {owner}, which ended without saying so")
        os.ftruncate(descriptor, 0)
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        os.pwrite(descriptor, note.encode(), 0)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    """``process 123 on host``, as the lock says, or nothing."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(note['pid'])} on {printable(str(note['host']))}"
    except (ValueError, KeyError, TypeError):
        return ""
