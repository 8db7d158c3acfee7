"""Talking to people: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gentool.errors import printable
from gentool.files import readable_json

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) now and then, e.g. ("decoding images", 512, 50000)."""


def speaks() -> bool:
    """Whether this process is the one of those under torchrun that talks to the person."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """A line for the person, on stderr; control characters are shown, not sent."""
    print(printable(message, 5000), file=sys.stderr, flush=True)


def tell(message: str) -> None:
    """A line of a result, on stdout; control characters are shown, not sent."""
    print(printable(message, 5000))


LARGEST = 1e100
"""Beyond it, what is formatted or drawn overflows."""


def is_showable(value: Any) -> bool:
    """Whether a value, which may be of a file that somebody edited, is a number for people."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -LARGEST <= value <= LARGEST  # an int of any length compares, and NaN does not


def print_json(value: Any) -> None:
    """A result for a program."""
    print(readable_json(value))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result for a person: aligned columns, cut to nothing, safe for the terminal."""
    cells = [list(headers), *[[printable(c) for c in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(headers))]
    for line in cells:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def warnings_as_lines() -> None:
    """Show Python warnings as one line each."""

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    warnings.showwarning = show


QUIET = 60.0
"""Seconds for which a log hears nothing, at most, of work that goes on."""


def _line_a_minute() -> Progress:
    spoke = time.monotonic()

    def update(what: str, done: int, total: int) -> None:
        nonlocal spoke
        if speaks() and time.monotonic() >= spoke + QUIET:
            spoke = time.monotonic()
            say(f"{what}: {done:,} of {total:,}")

    return update


@contextmanager
def loading_bar() -> Iterator[Progress]:
    """A bar for what takes long; where stderr is no terminal, a line a minute."""
    if not sys.stderr.isatty():
        yield _line_a_minute()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield update
