"""``gentool runs compare`` and ``curves``: runs side by side, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gentool.console import print_json, print_table, say, tell
from gentool.errors import UserError, printable

if TYPE_CHECKING:
    from gentool.compare.groups import Group

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN…", help="Runs; a sweep stands for all of its runs.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="A,B,…", help="Only these numbers, or curves."),
]
X = Annotated[Literal["step", "epoch", "time"], typer.Option("--x", help="What curves run over.")]
Split = Annotated[
    str | None, typer.Option("--split", help="Curves of this split (default: test, else train).")
]


def compare(
    runs: Runs,
    metric: Metrics = None,
    x: X = "step",
    split: Split = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table (booktabs).")] = False,
    png: Annotated[
        Path | None, typer.Option("--png", help="Draw curves into this file, with bands.")
    ] = None,
) -> None:
    """Compare runs: what differs, and mean ± deviation over the runs that differ by seed alone."""
    from gentool.compare import groups, read, table

    if csv + json + latex > 1:
        raise UserError("--csv, --json and --latex are three ways to print; give one of them")
    members = read.find(runs)
    names = _names(metric)
    found, wanted = groups.group(members), groups.choose(members, names)
    if json:
        print_json(groups.to_json(found, wanted))
    elif csv:
        print(table.to_csv(found, wanted), end="")
    elif latex:
        print(table.to_latex(found, wanted), end="")
    else:
        print_table(table.headers(found, wanted), table.rows(found, wanted))
    for remark in groups.remarks(found, wanted):
        say(f"note: {remark}")
    if png is not None:
        _draw(found, names or groups.curve_names(members), png, x, split)
        say(f"curves are in {png}")


def curves(
    runs: Runs,
    metric: Metrics = None,
    x: X = "step",
    split: Split = None,
    out: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("curves.png"),
) -> None:
    """Draw the curves of several runs over each other, a line a run."""
    from gentool.compare import groups, plot, read

    members = read.find(runs)
    names = _names(metric) or groups.curve_names(members)
    _draw(plot.singles(members), names, out, x, split)
    tell(str(out))


def _names(metric: list[str] | None) -> list[str] | None:
    if not metric:
        return None
    names = [name.strip() for text in metric for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--metric names none")
    return names


def _draw(found: list[Group], names: list[str], target: Path, x: str, split: str | None) -> None:
    from gentool.compare import plot

    try:
        plot.draw(found, names, target, x=x, split=split)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{printable(str(target))} cannot be written: {reason}") from error
