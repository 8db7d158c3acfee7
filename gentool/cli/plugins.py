"""``gentool plugins``: what is installed, whether it works, and a start for one of your own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import hookspecs, plugins
from gentool.console import print_json, print_table, program, say, tell
from gentool.errors import printable

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List plugins, examine them, start a new one."
)

KINDS = {hookspecs.GROUP: "model", hookspecs.HOOKS_GROUP: "hooks"}


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every announced plugin; none is imported."""
    rows: list[dict[str, Any]] = [
        {
            "name": p.name,
            "kind": kind,
            "distribution": p.distribution,
            "version": p.version,
            "module": p.entry_point.value,
        }
        for group, kind in KINDS.items()
        for p in plugins.installed(group)
    ]
    if json:
        print_json(rows)
        return
    headers = ("plugin", "kind", "package", "module")
    table = [
        (r["name"], r["kind"], f"{r['distribution']} {r['version']}", r["module"]) for r in rows
    ]
    print_table(headers, table)


@app.command("doctor")
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where a broken plugin breaks.")
    ] = False,
) -> None:
    """Import every plugin, each in a process of its own, and say which are broken or slow."""
    from dataclasses import asdict

    from gentool.checkup import examine_all

    findings = examine_all()
    if json:
        print_json([asdict(f) for f in findings])
    else:
        headers = ("plugin", "kind", "package", "hooks", "ms", "state")
        rows = [
            (
                f.name,
                KINDS[f.group],
                f"{f.distribution} {f.version}",
                ", ".join(h.removeprefix("gentool_") for h in f.hooks),
                f"{1000 * f.seconds:.0f}",
                "broken" if f.problem else "see below" if f.advice else "good",
            )
            for f in findings
        ]
        print_table(headers, rows)
        for f in findings:
            for line in (f.problem, *f.advice):
                if line:
                    tell(f"{f.distribution}:{f.name}: {line}")
            if traceback and f.traceback:
                for line in f.traceback.splitlines():
                    tell(line)
    for name in plugins.unmatched():
        say(f"warning: GENTOOL_PLUGINS names {printable(name)!r}, which no installed plugin has")
    if any(f.problem for f in findings):
        raise typer.Exit(1)


@app.command("new")
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The model's name, e.g. flow.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The folder (default ./NAME).")] = None,
) -> None:
    """Write a small, complete package with a model that trains, to make your own of."""
    from gentool.scaffold import write

    folder = write(name, out or Path(name))
    python = program(Path(sys.executable).name)
    steps = [
        f"{python} -m pip install -e {shlex.quote(f'{folder}[test]')}",
        f"{program()} train {name}",
        f"{python} -m pytest {shlex.quote(str(folder))}",
    ]
    say(f"next: {' && '.join(steps)}")
    tell(str(folder))
