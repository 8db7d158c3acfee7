"""One run of a sweep in a process of its own; see `gentool.sweep.work`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from gentool.console import say, warnings_as_lines
from gentool.errors import UserError
from gentool.folder import Folder
from gentool.sweep.plan import read
from gentool.sweep.work import BUSY, MISTAKE, STOPPED, Busy, train_cell
from gentool.train.stopping import Stopped


def main(path: str, name: str, limit: str, cache: str) -> int:
    """Train the run `name`; returns the exit code."""
    warnings_as_lines()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        with Folder(Path(path)) as folder:
            sweep = read(folder)
        cell = next(c for c in sweep.cells() if c.name == name)
        train_cell(Path(path), sweep, cell, cache or None, limit or None)
    except Stopped as reason:
        say(str(reason))
        return STOPPED
    except Busy:
        return BUSY
    except UserError as error:
        say(f"gentool: {error}")
        return MISTAKE
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _stop_with_parent() -> None:
    """The parent holds the other end of standard input: when it dies, save and stop too."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
