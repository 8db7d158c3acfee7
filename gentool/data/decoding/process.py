"""One worker process: a `gentool.data.decoding.worker` program and the pipe to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any

from gentool import subprocesses
from gentool.data.decoding.worker import DecodeJob


class Process:
    """Starts the program; it imports what it needs while the caller does something else."""

    def __init__(self) -> None:
        self.has: DecodeJob | None = None
        self._child: subprocess.Popen[str] | None = None
        # One thread each: the processes are the parallelism.
        with contextlib.suppress(OSError):
            self._child = subprocess.Popen(
                subprocesses.python("-m", "gentool.data.decoding.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,  # JSON in ASCII, whatever the locale
                env=subprocesses.environment(OPENBLAS_NUM_THREADS="1"),
            )

    def give(self, job: DecodeJob) -> bool:
        """Hand over the job; False where the process does not even start.

        A process takes one job; `has` is that.
        """
        self.has = job
        self.send(job.to_json())
        return self._line() == "ready\n"

    def send(self, batch: str) -> None:
        """Send a batch, as JSON; `receive` has the answer."""
        with contextlib.suppress(OSError):  # a death is noticed when the answer is missing
            if self._child is not None and self._child.stdin is not None:
                self._child.stdin.write(batch + "\n")
                self._child.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The answer to the batch (`Worker.decode`); None when the process has died."""
        line = self._line()
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

    def _line(self) -> str:
        if self._child is None or self._child.stdout is None:
            return ""
        with contextlib.suppress(OSError):
            return self._child.stdout.readline()
        return ""
