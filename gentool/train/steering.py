"""Telling a training of this user and this machine what to do: stop, or save.

A run's folder may come from somebody else, and so may its lock and the note in it. So a process is
signalled only if it belongs to the caller and holds that very lock file open, and by a handle that
cannot come to mean another process in between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.runs import Run
from gentool.train.lock import LOCK, Holder, holder_of
from gentool.train.status import REQUEST

PROCESSES = Path("/proc")
POLL = 0.1


def stop(run: Run, wait: float, tick: Callable[[], None] = lambda: None) -> bool:
    """Ask the process that trains a run to save and end.

    By SIGTERM, which a training treats as it does Ctrl-C, but for a second one: asking twice never
    cuts the saving short.

    Args:
        wait: seconds to wait for its end.
        tick: called now and then meanwhile.

    Returns:
        whether it has ended.

    Raises:
        UserError: where nobody trains the run, or somebody whom the caller may not tell.
    """
    with run.folder() as folder:
        _signal(folder, _held(folder))
        return _until(lambda: holder_of(folder) is None, wait, tick)


def request_checkpoint(run: Run, wait: float, tick: Callable[[], None] = lambda: None) -> bool:
    """Ask the process that trains a run for a checkpoint, wherever it runs.

    Returns:
        whether it was written in time.

    Raises:
        UserError: where nobody trains the run, or it ended before.
    """
    with run.folder() as folder:
        _held(folder)
        with user_errors("the request", run.path / REQUEST):
            os.close(folder.open_own(REQUEST))
        if not _until(lambda: not folder.has(REQUEST) or holder_of(folder) is None, wait, tick):
            return False
        if folder.has(REQUEST):
            with contextlib.suppress(OSError):
                folder.remove(REQUEST)
            raise UserError(
                f"the training of {printable(str(run.path))} ended meanwhile; what it saved at its "
                "end is its newest checkpoint"
            )
        return True


def _held(folder: Folder) -> Holder:
    holder = holder_of(folder)
    if holder is None:
        raise UserError(f"nobody is training the run {printable(str(folder.path))}")
    return holder


def _until(done: Callable[[], bool], wait: float, tick: Callable[[], None]) -> bool:
    end = time.monotonic() + wait
    while not done():
        if time.monotonic() >= end:
            return False
        tick()
        time.sleep(POLL)
    return True


def _signal(folder: Folder, holder: Holder) -> None:
    shown = printable(str(folder.path))
    if holder.pid and not holder.is_here:
        raise UserError(f"the run {shown} is being trained by {holder}; stop it on that machine")
    if not holder.pid or not PROCESSES.is_dir():
        known = f"process {holder.pid}" if holder.pid else "a process that it does not name"
        raise UserError(
            f"the run {shown} is being trained by {known}, and this system does not tell whether "
            "that is so; press Ctrl-C where it was started"
        )
    try:
        handle = os.pidfd_open(holder.pid)
    except (OSError, OverflowError):  # gone, or no process can have that number
        handle = None
    try:
        if handle is None or not _is_holder(folder, holder.pid):
            raise UserError(
                f"the run {shown} is held by a process other than the {holder.pid} that its lock "
                "names, or one of another user; nothing was signalled"
            )
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    except PermissionError as error:
        raise UserError(f"process {holder.pid} belongs to another user") from error
    except ProcessLookupError:
        pass  # it ended by itself
    finally:
        if handle is not None:
            os.close(handle)


def _is_holder(folder: Folder, pid: int) -> bool:
    """Whether a process is the caller's own and has locked the run's lock file."""
    process = PROCESSES / str(pid)
    try:
        if process.stat().st_uid != os.geteuid():
            return False
        lock = os.stat(LOCK, dir_fd=folder.descriptor, follow_symlinks=False)
        names = [path.name for path in (process / "fd").iterdir()]
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):
            if os.path.samestat((process / "fd" / name).stat(), lock):
                return _locks(process / "fdinfo" / name)
    return False


def _locks(info: Path) -> bool:
    """Whether an open file is locked through this descriptor, where the kernel says so."""
    lines = [line for line in info.read_text().splitlines() if line.startswith("lock:")]
    if not lines and not (PROCESSES / "locks").exists():
        return True  # a kernel that does not tell of locks
    return any("FLOCK" in line and "WRITE" in line for line in lines)
