"""``gentool runs logs``: how a run went, row by row, and how it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from gentool import runs as store
from gentool.console import is_showable, tell
from gentool.errors import UserError, printable
from gentool.folder import Folder
from gentool.train.lock import holder_of
from gentool.train.standing import table

POLL = 0.5
"""Seconds between two looks at a run that is followed."""


def logs(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run; default: the latest.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the training ends, or Ctrl-C.")
    ] = False,
    n: Annotated[
        int | None, typer.Option("-n", min=0, help="Only the last rows (default: all).")
    ] = None,
) -> None:
    """Print the rows of a run's metrics.jsonl as lines: an epoch's scalars, and warnings."""
    found = store.find(run)
    with found.folder() as folder:
        epochs = table(store.read_config(folder).get("settings")).get("epochs")
        seen = store.read_metrics(folder)
        for row in seen if n is None else seen[len(seen) - min(n, len(seen)) :]:
            tell(line(row, epochs))
        if follow:
            for row in _more(folder):
                tell(line(row, epochs))


def _more(folder: Folder) -> Iterator[dict[str, Any]]:
    """Rows as they are written, until nobody trains the run any more."""
    position = _size(folder)
    while True:
        goes_on = holder_of(folder) is not None
        now = _size(folder)
        position = min(position, now)  # a resumed run is cut back to its checkpoint
        if now > position:
            with folder.open("metrics.jsonl", store.MOST_METRICS) as file:
                file.seek(position)
                content = file.read(now - position)
            whole, newline, _ = content.rpartition(b"\n")
            position += len(whole) + len(newline)
            for one in whole.split(b"\n"):
                if (row := store.row_of(one)) is not None:
                    yield row
        if not goes_on:
            return
        time.sleep(POLL)


def _size(folder: Folder) -> int:
    try:
        with folder.open("metrics.jsonl", store.MOST_METRICS) as file:
            return file.seek(0, 2)
    except FileNotFoundError:
        return 0
    except OSError as error:
        shown = printable(str(folder.path / "metrics.jsonl"))
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error


def line(row: dict[str, Any], epochs: Any = None) -> str:
    """A row of metrics.jsonl for people."""
    if row.get("warning"):
        return f"epoch {row['epoch']}  warning: {row['warning']}"
    of = f"/{epochs}" if isinstance(epochs, int) else ""
    apart = ("epoch", "step", "split")
    scalars = [
        f"{k} {v:.4g}" if isinstance(v, float) and is_showable(v) else f"{k} {v}"
        for k, v in row.items()
        if k not in apart
    ]
    return f"epoch {row['epoch']}{of}  step {row['step']}  {row.get('split')}: " + "  ".join(
        scalars
    )
