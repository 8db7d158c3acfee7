"""``gentool evaluate``: numbers that say how good a model is, with what they depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.console import loading_bar, print_json, print_table, say
from gentool.errors import UserError, nearest, printable

if TYPE_CHECKING:
    from gentool.metrics.judge import Subject
    from gentool.metrics.trial import Progress

SPACES = ("auto", "pixels", "random", "classifier")


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
    n: Annotated[
        int | None, typer.Option("--n", help="Examples a side (default: up to 10000).")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Repeat with so many seeds; gives mean ± spread.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", help="The first seed.")] = 0,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            metavar="|".join(SPACES),
            help="What images are compared by; auto: a classifier where there are labels.",
        ),
    ] = "auto",
    k: Annotated[int, typer.Option("--k", help="Latents an example for nll.")] = 1000,
    nll_n: Annotated[int, typer.Option("--nll-n", help="Test examples for nll.")] = 1000,
    neighbours: Annotated[int, typer.Option("--neighbours", help="The k of prdc.")] = 5,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw x ~ p(x|z) instead of taking its mean.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    cache: Annotated[
        str | None, typer.Option("--cache", help="Folder for data that can be made again.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge trained models: likelihood, sample quality, diversity, memorisation."""
    if list_:
        _print_list(json)
        return
    _check("--n", n, 10)
    _check("--seeds", seeds, 1)
    _check("--seed", seed, 0)
    _check("--k", k, 1)
    _check("--nll-n", nll_n, 2)
    _check("--neighbours", neighbours, 1)
    if features not in SPACES:
        raise UserError(
            f"--features {printable(features)!r} is none of {', '.join(SPACES)}"
            f"{nearest(features, SPACES)}"
        )
    asked = None if metrics is None else [name.strip() for name in metrics.split(",")]
    if asked is not None and not any(asked):
        raise UserError("--metrics names none; `gentool evaluate --list` shows them")

    from gentool.metrics.judge import find_subject

    subjects = [find_subject(source, device) for source in sources or ()]
    subjects = subjects or [find_subject(None, device)]
    values: dict[str, Any] = {
        "k": k,
        "nll_n": nll_n,
        "neighbours": neighbours,
        "features": features,
        "seeds": seeds,
        "seed": seed,
        "draw": draw,
    }
    with loading_bar() as progress:
        records = _judge_all(subjects, data, cache, asked, n, values, progress)
    _show(records, json)


def _judge_all(
    subjects: list[Subject],
    data: str | None,
    cache: str | None,
    asked: list[str] | None,
    n: int | None,
    values: dict[str, Any],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Judge each model; those on the same data share the reals, their features and the floor."""
    from gentool.metrics import judge, registry
    from gentool.metrics.trial import Bench

    benches: dict[str, Bench] = {}
    records = []
    for subject in subjects:
        options, dataset, notes = judge.find_data(subject, data, cache, progress)
        if dataset.fingerprint not in benches:
            if benches:
                first = next(iter(benches.values())).dataset.name
                raise UserError(
                    f"{printable(subject.name)} was trained on other data than the runs before it "
                    f"({first}), and numbers on different data do not compare; "
                    "name one for all with --data"
                )
            plan = judge.make_plan(dataset, n, **values)
            where = subject.loaded.device, options.cache_folder()
            source = judge.source_of(options)
            benches[dataset.fingerprint] = Bench(dataset, plan, *where, progress, source)
        facts = judge.facts_of(subject, dataset, judge.source_of(options))
        chosen = registry.choose(asked, facts)
        record = judge.judge(subject, benches[dataset.fingerprint], options, chosen, notes)
        if subject.run is not None:
            judge.write_record(record, subject.run)
        records.append(record)
    return records


def _show(records: list[dict[str, Any]], json: bool) -> None:
    from gentool.metrics import table

    if json:
        print_json(records[0] if len(records) == 1 else records)
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


def _check(flag: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{flag} is {value}, but it must be at least {least}")
