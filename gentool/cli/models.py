"""``gentool models``: what is installed, from which package, with what capabilities."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gentool import plugins, quarantine
from gentool.console import print_json, print_table, say
from gentool.errors import UserError
from gentool.train.settings import trainable


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed models."""
    rows: list[dict[str, Any]] = []
    bad = quarantine.problems(plugins.installed())
    for plugin in plugins.installed():
        row: dict[str, Any] = {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
        }
        try:
            if plugin.full_name in bad:
                raise UserError(plugins.does_not_load(plugin, bad[plugin.full_name]))
            spec = trainable(plugin)
            row |= {
                "summary": spec.summary,
                "data": list(spec.data),
                "capabilities": sorted(spec.capabilities),
                "paper": spec.paper,
            }
        except UserError as error:
            row["error"] = str(error)
        rows.append(row)
    if json:
        print_json(rows)
        return
    good = [r for r in rows if "error" not in r]
    print_table(
        ("model", "package", "data", "can", "summary"),
        [
            (
                r["name"],
                f"{r['distribution']} {r['version']}",
                ", ".join(r["data"]),
                ", ".join(r["capabilities"]),
                r["summary"],
            )
            for r in good
        ],
    )
    for row in rows:
        if "error" in row:
            say(f"warning: {row['error']}")
