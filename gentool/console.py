"""Talking to people: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gentool.errors import printable
from gentool.files import readable_json

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) now and then, e.g. ("decoding images", 512, 50000)."""


def speaks() -> bool:
    """Whether this process is the one of those under torchrun that talks to the person."""
    return os.environ.get("RANK", "0") == "0"


def program(name: str = "gentool") -> str:
    """How a program of this environment is called from here: by its name, where the shell would
    find this one, or else by its path; quoted for a shell."""
    here = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not here.exists() or (found is not None and Path(found).absolute() == here.absolute()):
        return name
    path = here.absolute()
    with contextlib.suppress(ValueError):  # shorter to read where it is below us
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


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
    """A result for a person: aligned columns, safe for the terminal.

    Where it is wider than the terminal, long cells wrap; a pipe gets a line a row.
    """
    cells = [list(headers), *[[printable(c) for c in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if (room := _room()) is not None:
        words = [max(_longest_word(c) for c in column) for column in zip(*cells, strict=True)]
        widths = _fitted(widths, words, room - GAP * (len(widths) - 1))
    for line in cells:
        pieces = [_wrapped(c, w) for c, w in zip(line, widths, strict=True)]
        for i in range(max(map(len, pieces))):
            parts = [p[i] if i < len(p) else "" for p in pieces]
            shown = [part.ljust(w) for part, w in zip(parts, widths, strict=True)]
            print((" " * GAP).join(shown).rstrip())


GAP = 2
"""Spaces between columns."""

NARROWEST = 6
"""Letters of a column that is squeezed."""


def _room() -> int | None:
    """Letters in a line of the terminal that results go to; None where they go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fitted(widths: list[int], words: list[int], room: int) -> list[int]:
    """Widths that fit the room: the widest give way first, and words are cut last."""
    fitted = list(widths)
    for least in ([max(w, NARROWEST) for w in words], [NARROWEST] * len(words)):
        while sum(fitted) > room:
            free = [i for i, w in enumerate(fitted) if w > least[i]]
            if not free:
                break
            fitted[max(free, key=lambda i: fitted[i])] -= 1
    return fitted


def _longest_word(cell: str) -> int:
    return max(map(len, cell.split()), default=0)


def _wrapped(cell: str, width: int) -> list[str]:
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width) or [""]


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
