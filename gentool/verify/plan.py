"""What a verification will do, before it does: what can run here, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name

from gentool.data.options import DataOptions
from gentool.data.registry import sources
from gentool.data.sources.idx import present
from gentool.data.sources.published import Published, places
from gentool.errors import printable
from gentool.verify.recipes import Recipe, show_length


def published_of(recipe: Recipe) -> Published | None:
    """The published set that a recipe reads; None where it needs none."""
    name = recipe.data.partition(":")[0]
    for source in sources():
        if source.name == name and source.published:
            found: Published = resolve_name(source.published)
            return found
    return None


def takes_folder(recipe: Recipe) -> bool:
    """Whether a folder with the published files can stand in the place of the recipe's data."""
    published = published_of(recipe)
    return published is not None and published.name == recipe.data


def missing(recipe: Recipe, cache: str | None, folder: Path | None) -> Published | None:
    """The published set that a recipe needs and that is not on this machine.

    Args:
        folder: as ``--data``.
    """
    published = published_of(recipe)
    if published is None:
        return None
    found = list(places(DataOptions(cache=cache), published))
    if folder is not None and takes_folder(recipe):
        found = [folder]
    here = any(all(present(place, file.name) for file in published.files) for place in found)
    return None if here else published


def announce(recipes: Sequence[Recipe], cache: str | None, folder: Path | None) -> Iterator[str]:
    """What is to be said before it begins, a line each."""
    minutes = [recipe.minutes for recipe in recipes]
    known = sum(m for m in minutes if m is not None)
    length = f"about {show_length(known)} in all on 2 CPU cores" if known else "of unknown length"
    if known and None in minutes:
        length += ", and those whose length is not known"
    count = "one recipe" if len(recipes) == 1 else f"{len(recipes)} recipes"
    yield f"{count}, {length}"
    lacking: dict[str, tuple[Published, list[Recipe]]] = {}
    for recipe in recipes:
        if (published := missing(recipe, cache, folder)) is not None:
            lacking.setdefault(published.name, (published, []))[1].append(recipe)
    for name, (published, needing) in lacking.items():
        home, *others = places(DataOptions(cache=cache), published)
        where = " or ".join(printable(str(place)) for place in (*others, home))
        can = any(takes_folder(recipe) for recipe in needing)
        yield (
            f"{name} is not on this machine, and {', '.join(r.name for r in needing)} need it: "
            f"without a network put its files into {where}"
            + (", or name their folder with --data" if can else "")
        )
    if lacking:
        able = len(recipes) - sum(len(needing) for _, needing in lacking.values())
        yield f"{able} of {len(recipes)} can run here without a download"
