"""What is said when a run is trained."""

from __future__ import annotations

import shlex

from gentool.api import TrainedRun
from gentool.console import program, say, speaks, tell


def say_done(run: TrainedRun) -> None:
    """The run's path on stdout, the next command on stderr; once, whatever the processes."""
    if speaks():
        say(f"done; sample with: {program()} sample {shlex.quote(str(run.path))} --n 64")
        tell(str(run.path))
