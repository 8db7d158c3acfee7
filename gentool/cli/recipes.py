"""``gentool recipes``: settings that were tried, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gentool import recipefiles
from gentool.console import print_json, print_table, say, tell
from gentool.errors import printable
from gentool.runs import Run
from gentool.verify import recipes as store
from gentool.verify.recipes import Recipe


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Show this one, file and all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recipes; each is a TOML file that `gentool train --config RECIPE` takes by name."""
    if name is not None:
        _show(name, json)
        return
    found = store.every()
    if json:
        print_json([_facts(r) for r in found])
        return
    rows = [(r.name, r.model, r.data, r.length, _use(r)) for r in found]
    print_table(("recipe", "model", "data", "2 cores", "for"), rows)
    say("train one: gentool train --config RECIPE; look at one: gentool recipes RECIPE")


def print_recipe(run: Run, config: Mapping[str, Any]) -> None:
    """Print the recipe that trains a run again; `config` is its config.json."""
    from gentool.train import again
    from gentool.train.job import from_run

    environment = config.get("environment")
    facts = environment if isinstance(environment, dict) else {}
    for line in again.recipe(from_run(run, config, {}), facts).splitlines():
        tell(line)


def _show(name: str, json: bool) -> None:
    recipe = store.read(recipefiles.locate(name))
    if json:
        print_json(_facts(recipe))
        return
    for line in recipe.path.read_text(encoding="utf-8").splitlines():
        tell(line)


def _facts(r: Recipe) -> dict[str, Any]:
    return {
        "name": r.name,
        "path": str(r.path),
        "model": r.model or None,
        "data": r.data or None,
        "minutes": r.minutes,
        "source": r.source,
        "setting": r.setting,
        "checks": [c.value for c in r.checks],
    }


def _use(r: Recipe) -> str:
    """What a recipe is good for, in one line."""
    checked = ", ".join(f"{c.value} {c.expected:g}" for c in r.checks)
    return printable(f"verify: {checked}" if checked else r.setting, 90)
