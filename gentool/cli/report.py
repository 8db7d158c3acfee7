"""``gentool report RUN…``: one page that tells everything of some runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gentool.console import say, tell
from gentool.files import check_out, user_errors, write_text


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]…", help="Runs and sweeps; default: the latest run."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The page.")] = Path("report.html"),
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
) -> None:
    """Write one page of HTML: options, curves, samples, evaluations, and how to repeat them."""
    from gentool.compare import read
    from gentool.report.page import report as written
    from gentool.runs import latest

    check_out(out, force)
    members = read.find(runs or [latest().path])
    with user_errors("the report", out):
        write_text(out, written(members))
    say(f"open {out} in a browser; it needs no other file")
    tell(str(out))
