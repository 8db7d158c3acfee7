"""``gentool runs``: the runs below ./runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gentool import runs as store
from gentool.cli.recipes import print_recipe
from gentool.console import is_showable, print_json, print_table, tell
from gentool.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List runs and show one.")

BOOKKEEPING = ("epoch", "step", "split", "examples_per_s")


def _summary(run: store.Run) -> dict[str, Any]:
    try:
        config = run.read_config()
    except UserError as error:
        return {"run": str(run.path), "error": str(error)}
    rows = run.read_metrics()
    last: dict[str, Any] = {}
    for row in rows:
        scalars = {k: v for k, v in row.items() if k not in BOOKKEEPING}
        last[str(row.get("split"))] = scalars
    return {
        "run": str(run.path),
        "model": config.get("model"),
        "data": _table(config.get("data_options")).get("data"),
        "epoch": rows[-1].get("epoch") if rows else 0,
        "step": rows[-1].get("step") if rows else 0,
        "last": last,
    }


def _table(value: Any) -> dict[str, Any]:
    """What should be a table; whatever else a file holds counts as empty."""
    return value if isinstance(value, dict) else {}


@app.command("list")
def list_runs(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the runs below ./runs, oldest first."""
    rows = [_summary(run) for run in store.every()]
    if json:
        print_json(rows)
        return
    table = []
    for row in rows:
        loss = row.get("last", {}).get("test", {}) or row.get("last", {}).get("train", {})
        numbers = [(k, float(v)) for k, v in loss.items() if is_showable(v)]
        shown = ", ".join(f"{k} {v:.4g}" for k, v in numbers[:2])
        cells = (row["run"], row.get("model"), row.get("data"), row.get("epoch"), shown)
        table.append([str(c) for c in cells])
    print_table(("run", "model", "data", "epoch", "last"), table)


@app.command("show")
def show(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run; default: the latest.")
    ] = None,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print a recipe that trains it again.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one run: what was asked for, and how it stands."""
    found = store.find(run)
    config = found.read_config()
    if toml:
        print_recipe(found, config)
        return
    if json:
        print_json({**config, **_summary(found)})
        return
    summary = _summary(found)
    tell(f"{summary['run']}: {summary['model']}, epoch {summary['epoch']}, step {summary['step']}")
    for split, scalars in summary["last"].items():
        tell(f"  {split}: " + ", ".join(f"{k} {v}" for k, v in scalars.items()))
    for part in ("config", "settings", "data_options", "environment"):
        shown = {k: v for k, v in _table(config.get(part)).items() if v is not None}
        tell(f"  {part}: " + ", ".join(f"{k}={v}" for k, v in shown.items()))
