"""``gentool evaluate``: numbers that say how good a model is, with what they depend on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gentool import api, options
from gentool.cli.options import given, with_options
from gentool.console import print_json, print_table, say
from gentool.errors import UserError
from gentool.metrics.plan import Plan


@with_options(Plan)
def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|FILE]…", help="Runs or model.safetensors; several are compared."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Judge by this data (default: the run's own).")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="A,B,…", help="Only these; --list shows them."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the metrics.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    cache: Annotated[
        str | None, typer.Option("--cache", help="Folder for data that can be made again.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            metavar="mixture:K",
            help="Judge once more, with latents from K Gaussians fitted to the training codes.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of records.")] = False,
    **values: Any,
) -> None:
    """Judge trained models: likelihood, sample quality, diversity, memorisation."""
    if list_:
        _print_list(json)
        return
    plan = given(options.fields_of(Plan), values)
    asked = None if metrics is None else [name.strip() for name in metrics.split(",")]
    if asked is not None and not any(asked):
        raise UserError("--metrics names none; `gentool evaluate --list` shows them")

    # No source means the latest run, to which a list of none does not come.
    found: Any = api.evaluate(
        sources or None, metrics=asked, data=data, cache=cache, device=device, prior=prior, **plan
    )
    records = found if isinstance(found, list) else [found]
    _show(records, json)


def _show(records: list[dict[str, Any]], json: bool) -> None:
    from gentool.metrics import table

    if json:
        print_json(records)
    else:
        print_table(table.headers(records), table.rows(records))
    say(table.caption(records[0]))
    for warning in dict.fromkeys(w for record in records for w in record["warnings"]):
        say(f"warning: {warning}")


def _print_list(json: bool) -> None:
    from gentool.metrics import registry

    found = registry.metrics()
    if json:
        print_json(
            [
                {"name": m.name, "needs": sorted(m.needs), "default": m.default, "help": m.help}
                for m in found
            ]
        )
        return
    rows = [(m.name, ", ".join(sorted(m.needs)), "yes" if m.default else "", m.help) for m in found]
    print_table(("metric", "needs", "default", "what it says"), rows)
