"""Recipes: TOML files that say how to train, what is published, and what must come out.

Above the table ``[recipe]`` stand options of ``gentool train``, so ``--config`` takes the same
file. The table says where the setting and the number come from::

    [recipe]
    source = "paper, table, or program"
    setting = "the setting in words"
    minutes = 3            # measured on 2 CPU cores
    quick = true           # runs under --quick

    [[recipe.check]]
    metric = "nll"         # a metric of `gentool evaluate`
    value = "nll"          # one of its numbers
    expected = 86.76       # what is published
    band = [86.3, 87.0]    # what passes
    k = 5000               # options of `gentool evaluate`, where they matter

A recipe without ``model`` checks the metrics' own code: ``anchor`` names a computation of
`gentool.verify.anchors`. A recipe without checks can be trained, but not verified. No torch here.
"""

from __future__ import annotations

import dataclasses
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gentool import options, recipefiles
from gentool.errors import UserError, printable
from gentool.files import read_named
from gentool.metrics.plan import Plan


@dataclass(frozen=True)
class Check:
    """One number that must come out.

    Attributes:
        metric: a metric of ``gentool evaluate``, or empty for an anchor's own number.
        value: which of its numbers.
        expected: what is published or derived.
        band: what passes, both ends included.
        settings: options of the evaluation that the recipe sets; `plan` has all of them.
    """

    value: str
    expected: float
    band: tuple[float, float]
    metric: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """How the number is taken; raises UserError for what is no option, or out of bounds."""
        plan: Plan = options.build(Plan, self.settings, "in a check")
        return plan

    def holds(self, obtained: float) -> bool:
        """False for NaN too."""
        return self.band[0] <= obtained <= self.band[1]


@dataclass(frozen=True)
class Recipe:
    """One recipe; see the module's head."""

    name: str
    path: Path
    model: str
    anchor: str
    data: str
    source: str
    setting: str
    minutes: float | None
    quick: bool
    checks: tuple[Check, ...]

    @property
    def length(self) -> str:
        """``4 min``, ``2.5 h`` or ``3 days``; empty where it is not known."""
        return "" if self.minutes is None else show_length(self.minutes)


def show_length(minutes: float) -> str:
    """``4 min``, ``3 h`` or ``3 days``."""
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    if minutes < 60 * 36:
        return f"{minutes / 60:.0f} h"
    return f"{minutes / 1440:.0f} days"


def every() -> list[Recipe]:
    """Every shipped recipe: the quick ones first, then by name."""
    found = [read(path) for path in recipefiles.shipped()]
    return sorted(found, key=lambda r: (not r.quick, r.name))


def shipped() -> list[Recipe]:
    """Those with something to check."""
    return [r for r in every() if r.checks]


def find(name: str) -> Recipe:
    """A shipped recipe by its name, or a TOML file by its path; raises UserError."""
    recipe = read(recipefiles.locate(name))
    if not recipe.checks:
        command = shlex.join(["gentool", "train", "--config", name])
        raise UserError(
            f"the recipe {printable(recipe.name)} names no number to check; "
            f"train it with `{printable(command)}`"
        )
    return recipe


def read(path: Path) -> Recipe:
    """Read a recipe; raises UserError for a file that is none."""
    shown = printable(str(path))
    try:
        content = tomllib.loads(read_named(path, options.LARGEST_TOML))
        table = content.get("recipe", {})
        model, anchor = content.get("model", ""), table.get("anchor", "")
        if bool(model) == bool(anchor):
            raise ValueError("it needs either a model or an anchor")
        checks = tuple(_check(entry, bool(model)) for entry in table.get("check", []))
        return Recipe(
            name=path.stem,
            path=path,
            model=str(model),
            anchor=str(anchor),
            data=str(content.get("data", table.get("data", ""))),
            source=str(table.get("source", "")),
            setting=str(table.get("setting", "")),
            minutes=float(table["minutes"]) if "minutes" in table else None,
            quick=table.get("quick", False) is True,
            checks=checks,
        )
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        raise UserError(f"{shown} is no recipe: {printable(str(error))}") from error


def _check(entry: dict[str, Any], trained: bool) -> Check:
    known = {f.name for f in dataclasses.fields(Check)} - {"settings"}
    settings = {k.replace("-", "_"): v for k, v in entry.items() if k not in known}
    options.build(Plan, settings, "in a check")
    low, high = (float(end) for end in entry["band"])
    if not low <= high:
        raise ValueError(f"a check's band [{low}, {high}] is empty")
    if trained != ("metric" in entry):
        raise ValueError("a check needs a metric where there is a model, and none for an anchor")
    return Check(
        value=str(entry["value"]),
        expected=float(entry["expected"]),
        band=(low, high),
        metric=str(entry.get("metric", "")),
        settings=settings,
    )
