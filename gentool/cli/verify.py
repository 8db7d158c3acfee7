"""``gentool verify``: train published settings and hold the result to the published number."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.console import loading_bar, print_json, print_table, say
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.train.job import from_options
from gentool.train.stopping import Stopped
from gentool.verify import recipes
from gentool.verify.plan import announce, takes_folder
from gentool.verify.recipes import Recipe

if TYPE_CHECKING:
    from gentool.verify.runner import Outcome


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]…", help="Recipes, or TOML files.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every recipe of a few minutes: ten in all on 2 cores.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Keep the runs here (default: they are removed).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipes' own.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The folder of MNIST's files, where they lie elsewhere."),
    ] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", help="Folder for data that can be made again.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Reproduce published numbers; the exit code is 1 where one is out of its band."""
    if list_:
        _print_list(json)
        return
    if seed is not None and seed < 0:
        raise UserError(f"--seed is {seed}, but it must be at least 0")
    chosen = [recipes.find(name) for name in names or ()]
    if quick:
        named = {recipe.name for recipe in chosen}
        chosen += [r for r in recipes.shipped() if r.quick and r.name not in named]
    if not chosen:
        raise UserError("name a recipe (`gentool verify --list` shows them), or give --quick")
    if data is not None and not data.is_dir():
        raise UserError(f"--data {printable(str(data))} is no folder")
    for line in announce(chosen, cache, data):
        say(line)
    overrides = {"device": device} | ({} if seed is None else {"seed": seed})
    outcomes: list[Outcome] = []
    try:
        with _folder(out) as folder:
            for recipe in chosen:
                outcomes += _run(recipe, folder / recipe.name, cache, overrides, data)
    except (Stopped, KeyboardInterrupt) as stop:
        if outcomes:
            _show(outcomes, json)
        if out is None and isinstance(stop, Stopped):  # what there was to go on with is removed
            count = {0: "no number is in", 1: "one number is in"}
            done = count.get(len(outcomes), f"{len(outcomes)} numbers are in")
            raise Stopped(
                f"{stop.reason} while {recipe.name} was trained; {done}, and its run is removed "
                "(--out FOLDER keeps runs)",
                stop.code,
            ) from None
        raise
    _show(outcomes, json)
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def _run(
    recipe: Recipe, out: Path, cache: str | None, overrides: dict[str, Any], folder: Path | None
) -> list[Outcome]:
    from gentool.verify.runner import run

    length = f", about {recipe.length} on 2 CPU cores" if recipe.length else ""
    say(f"verify {recipe.name}{length}")
    if recipe.model:
        more = overrides | ({} if cache is None else {"cache": cache})
        if folder is not None and takes_folder(recipe):
            more["data"] = str(folder)
        job = from_options(recipe.model, more, recipe.path)
        with loading_bar() as progress:
            return run(recipe, job, job.data_options, out, progress)
    data = DataOptions(data=recipe.data or DataOptions.data, cache=cache)
    with loading_bar() as progress:
        return run(recipe, None, data, out, progress)


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="gentool-verify-") as folder:
        yield Path(folder)


def _show(outcomes: list[Outcome], json: bool) -> None:
    if json:
        print_json([outcome.to_json() for outcome in outcomes])
        return
    header = ("recipe", "number", "expected", "obtained", "band", "verdict", "minutes", "source")
    print_table(header, [_row(outcome) for outcome in outcomes])
    for problem in dict.fromkeys(o.problem for o in outcomes if o.problem):
        say(f"not run: {problem}")


def _row(outcome: Outcome) -> list[str]:
    check, got = outcome.check, outcome.obtained
    return [
        outcome.recipe.name,
        check.value,
        f"{check.expected:g}",
        "–" if got is None else f"{got:.4g}" if abs(got) < 100 else f"{got:.2f}",
        f"{check.band[0]:g} … {check.band[1]:g}",
        outcome.verdict,
        f"{outcome.seconds / 60:.1f}",
        outcome.recipe.source,
    ]


def _print_list(json: bool) -> None:
    found = recipes.shipped()
    if json:
        print_json(
            [
                {
                    "name": r.name,
                    "model": r.model or None,
                    "quick": r.quick,
                    "minutes": r.minutes,
                    "source": r.source,
                    "setting": r.setting,
                    "checks": [
                        {"value": c.value, "expected": c.expected, "band": list(c.band)}
                        for c in r.checks
                    ],
                }
                for r in found
            ]
        )
        return
    rows = [
        (
            r.name,
            "quick" if r.quick else "",
            r.length,
            ", ".join(f"{c.value} {c.expected:g}" for c in r.checks),
            printable(r.source),
        )
        for r in found
    ]
    print_table(("recipe", "", "2 cores", "expected", "source"), rows)
