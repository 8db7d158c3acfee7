"""What is said when a run is trained."""

from __future__ import annotations

from gentool.console import say, speaks, tell
from gentool.runs import Run


def say_done(run: Run) -> None:
    """The run's path on stdout, the next command on stderr; once, whatever the processes."""
    if speaks():
        say(f"done; sample with: gentool sample {run.path} --n 64")
        tell(str(run.path))
