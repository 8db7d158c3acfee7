"""``gentool runs show`` and ``diff``: one run in short numbers, and two runs' settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import runs as store
from gentool.cli.recipes import print_recipe
from gentool.cli.runs_list import brief, size, summary
from gentool.console import is_showable, print_json, print_table, say, tell
from gentool.errors import UserError, printable
from gentool.files import is_file
from gentool.train.standing import PARTS, standing, table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run; default: the latest.")
    ] = None,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print a recipe that trains it again.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one run: how it stands, what was asked for, and where its files are."""
    found = store.find(run)
    config = found.read_config()
    if toml:
        print_recipe(found, config)
        return
    row = summary(found)
    if "error" in row:
        raise UserError(row["error"])
    if json:
        facts = {k: v for k, v in row.items() if k != "facts"}
        print_json({**config, **facts})
        return
    tell(f"{row['run']}: {row['model']} on {row['data']}")
    for name, value in (*_standing(row), *_files(found)):
        tell(f"  {name:<12}  {value}")
    for split, scalars in row["last"].items():
        tell(f"  {printable(split, 12):<12}  " + ", ".join(_scalars(scalars)))
    for part in (*PARTS, "environment"):
        given = {k: v for k, v in table(config.get(part)).items() if v is not None}
        tell(f"  {part:<12}  " + ", ".join(f"{k}={brief(v)}" for k, v in given.items()))


def _standing(row: dict[str, Any]) -> list[tuple[str, str]]:
    state = row["state"]
    if row["pid"]:
        state += f", process {row['pid']} on {row['host']}"
    elif row["reason"]:
        state += f": {row['reason']}"
    of = "" if row["epochs"] is None else f" of {row['epochs']}"
    steps = "" if row["steps"] is None else f" of {row['steps']}"
    lines = [("state", state), ("epoch", f"{row['epoch']}{of}, step {row['step']}{steps}")]
    if row["examples_per_s"] is not None:
        lines.append(("speed", f"{row['examples_per_s']:,.0f} examples/s"))
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["changed_at"]))
    lines += [("size", size(row["size"])), ("changed", date)]
    if row["tags"]:
        lines.append(("tags", " ".join(row["tags"])))
    return lines


def _files(run: store.Run) -> list[tuple[str, str]]:
    """Where each part of the run is, of those that are there."""
    parts: dict[str, Path] = {
        "model": run.model,
        "best": run.best,
        "metrics": run.metrics,
        "curves": run.curves,
        "film": run.film,
        "recipe": run.path / "recipe.toml",
        "card": run.card,
    }
    found = [(name, str(path)) for name, path in parts.items() if is_file(path)]
    for name, folder in (("samples", run.samples), ("checkpoints", run.state)):
        if folder.is_dir():
            found.append((name, str(folder)))
    return found


def _scalars(scalars: dict[str, Any]) -> list[str]:
    return [f"{k} {v:.4g}" if is_showable(v) else f"{k} {v}" for k, v in scalars.items()]


def diff(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
    json: Json = False,
) -> None:
    """Print the settings in which two runs differ, and where they ran."""
    stands = [standing(store.find(name)) for name in (first, second)]
    tables = []
    for stand in stands:
        around = {f"environment.{k}": v for k, v in table(stand.config.get("environment")).items()}
        tables.append({"model": stand.model, **stand.settings, **around})
    names = dict.fromkeys([*tables[0], *tables[1]])
    different = {
        name: [t.get(name) for t in tables]
        for name in names
        if tables[0].get(name) != tables[1].get(name)
    }
    if json:
        print_json(different)
        return
    if not different:
        say("both were asked for the same, and ran in the same surroundings")
        return
    headers = ("setting", *(str(stand.run.path) for stand in stands))
    rows = [[name, *map(brief_or_none, pair)] for name, pair in different.items()]
    print_table([printable(h) for h in headers], rows)


def brief_or_none(value: Any) -> str:
    """A setting as it is typed, or a dash."""
    return "–" if value is None else brief(value)
