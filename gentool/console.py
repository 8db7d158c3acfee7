"""Talking to people: results on stdout, everything else on stderr."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gentool.errors import printable

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) now and then, e.g. ("decoding images", 512, 50000)."""


class LastingStream:
    """A stream to a terminal that falls silent, instead of failing, once the terminal is gone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _surviving_terminal():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _surviving_terminal():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _surviving_terminal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:  # what a terminal that hung up answers
            raise
        forget_terminal()


def outlive_terminal() -> None:
    """Let the program go on, silent, where its terminal goes away and SIGHUP is ignored.

    A stream that the shell closed (``>&-``) becomes one to nowhere, on the free descriptor.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or Path(os.devnull).open("w")  # noqa: SIM115  (for good)
        setattr(sys, name, LastingStream(stream) if stream.isatty() else stream)


def forget_terminal() -> None:
    """Send what would still be written to the terminal nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(nowhere, number)
    os.close(nowhere)


def speaks() -> bool:
    """Whether this process is the one of those under torchrun that talks to the person."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """A line for the person, on stderr; control characters are shown, not sent."""
    print(printable(message, 5000), file=sys.stderr, flush=True)


def tell(message: str) -> None:
    """A line of a result, on stdout; control characters are shown, not sent."""
    print(printable(message, 5000))


def print_json(value: Any) -> None:
    """A result for a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


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


@contextmanager
def loading_bar() -> Iterator[Progress]:
    """A bar for the loading of data; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
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
