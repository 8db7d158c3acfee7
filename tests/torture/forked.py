"""Running the command line in a forked child, so that torch is imported once for many runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import gentool.cli.main
import gentool.data.loading
import gentool.train.session

torch.set_num_threads(1)


def start(arguments: list[str], output: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a child that runs ``gentool ARGUMENTS`` and writes to `output`; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["gentool", *arguments]
    code = 1
    try:
        prepare()
        gentool.cli.main.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(pid: int, kill_after: float | None = None) -> int | None:
    """The child's exit code, or None where it was killed after `kill_after` seconds."""
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code
