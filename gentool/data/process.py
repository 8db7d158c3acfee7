"""One worker process: a `gentool.data.worker` program and the pipe to it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from gentool.data.worker import Item, Job


class Process:
    """Starts the program; it imports what it needs while the caller does something else."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._child: subprocess.Popen[str] | None = None
        # -P: a file in the current folder must not stand in for a module. One thread each: the
        # processes are the parallelism.
        with contextlib.suppress(OSError):
            self._child = subprocess.Popen(
                [sys.executable or "python3", "-P", "-m", "gentool.data.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,  # JSON in ASCII, whatever the locale
                env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            )

    def give(self, job: Job) -> bool:
        """Hand over the job; False where the process does not even start."""
        return self._exchange(job.to_json()) == "ready\n"

    def ask(self, batch: list[Item]) -> dict[str, Any] | None:
        """The answer to one batch (`Worker.decode`); None when the process has died."""
        line = self._exchange(json.dumps(batch))
        return json.loads(line) if line.endswith("\n") else None

    def end(self) -> None:
        """Kill the process and close the pipe; may be called twice."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exchange(self, line: str) -> str:
        """Send a line, return the line that comes back; "" where nobody is there."""
        if self._child is None or self._child.stdin is None or self._child.stdout is None:
            return ""
        try:
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
            return self._child.stdout.readline()
        except OSError:
            return ""
