"""What the shell offers for a value: runs, sources, recipes, choices. Asked only at a Tab.

A completer looks at an argument's or option's name as it stands in ``--help``, so a verb gets it by
calling its argument RUN.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

VARIABLE = "_GENTOOL_COMPLETE"
"""What the scripts of `gentool --install-completion` set."""

CHOICES = re.compile(r"\[?([a-z0-9][\w.-]*(?:\|[\w.-]+)+)\]?")


def is_asked() -> bool:
    """Whether this process only answers a shell."""
    return VARIABLE in os.environ


def complete(parameter: Any) -> None:
    """Give a parameter of a command what its values can be."""
    find: Callable[[], Iterable[str]] | None
    name, metavar = str(parameter.name), str(parameter.metavar or "")
    if parameter.param_type_name == "argument":
        words = set(re.findall("[A-Z]+", metavar))
        find = runs_known if "RUN" in words else recipe_names if "RECIPE" in words else None
        find = source_names if "SRC" in words else find
    elif match := CHOICES.fullmatch(metavar):
        choices = match[1].split("|")
        find = choices.copy
    else:
        find = OPTIONS.get(name)
    if find is not None:
        # What Typer's own `autocompletion=` would set.
        parameter.shell_complete = _completer(find)


def _completer(find: Callable[[], Iterable[str]]) -> Callable[[Any, str], list[Any]]:
    def answer(ctx: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        found: list[str] = []
        with contextlib.suppress(Exception):  # a Tab is no place for a complaint
            found = [word for word in find() if word.startswith(incomplete) and word.isprintable()]
        return [CompletionItem(word) for word in dict.fromkeys(found)]

    return answer


def runs_known() -> list[str]:
    """Names of runs: below ./runs, then anywhere."""
    from gentool import runs

    return [run.path.name for run in reversed(runs.everywhere())]


def source_names() -> list[str]:
    """Names of data sources."""
    from gentool.data.registry import sources

    return [source.name for source in sources() if source.kind != "path"]


def recipe_names() -> list[str]:
    """Names of recipes."""
    from gentool import recipefiles

    return [path.stem for path in recipefiles.shipped()]


def device_names() -> list[str]:
    """Devices by name."""
    return ["auto", "cpu", "cuda", "mps"]


OPTIONS: dict[str, Callable[[], list[str]]] = {
    "data": source_names,
    "config_file": recipe_names,
    "device": device_names,
}
