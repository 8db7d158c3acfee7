"""``gentool directions``: where "smile" or "3" points in the latent space, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli import latent
from gentool.console import loading_bar, print_json, print_table, say
from gentool.errors import UserError

if TYPE_CHECKING:
    from gentool.latent.directions import Directions

MOST_ANGLES = 12
"""Directions of which a table of angles still fits a terminal."""


def directions(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|FILE]", help="A run or model file (the latest run)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Data with attributes or classes (default: the run's own)."),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option("--attributes", metavar="A,B,…", help="Only these attributes or classes."),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="labels|pca",
            help="A direction for each attribute, or else class; or the principal directions.",
        ),
    ] = "labels",
    n: Annotated[int, typer.Option("--n", help="Latents to learn from.")] = 10_000,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to (default: the run's own file).")
    ] = None,
    device: latent.Device = "auto",
    force: latent.Force = False,
    json: latent.Json = False,
) -> None:
    """Find directions and keep them in the run; `gentool edit` goes along them.

    A model with an encoder learns them from encoded data; one without from its own samples, which
    a classifier trained on the data looks at.
    """
    latent.check_range("--n", n, 20, 1_000_000)
    latent.one_of("--by", by, ("labels", "pca"))
    names = None if attributes is None else [a.strip() for a in attributes.split(",")]
    if names is not None and not all(names):
        raise UserError("--attributes holds an empty name; write them like smile,male")

    from gentool.files import check_out
    from gentool.latent import store
    from gentool.latent.directions import merged
    from gentool.latent.find import find_directions

    model = latent.open_model(source, device)
    path = model.directions_file if out is None else out
    if out is not None:
        check_out(out, force)
    with loading_bar() as progress:
        found, notes = find_directions(
            model.model, data, model.data_options, names, by=by, n=n, progress=progress
        )
    for note in notes:
        say(f"note: {note}")
    if not found.every:
        raise UserError("no direction was found; the notes above say why")
    kept = found
    if path.is_file() and out is None:
        old = _still_good(path, model.model, found)
        kept = merged(old, found.every.values(), found.origin)
    store.save(path, kept)
    _show(found, path, json)


def _still_good(path: Path, model: Any, found: Directions) -> Directions | None:
    """The directions kept before, if they are of the same weights."""
    from gentool.latent import store

    try:
        old = store.load(path, model)
    except UserError as error:
        say(f"note: replacing what was kept before: {error}")
        return None
    if old.origin.get("weights") != found.origin["weights"]:
        say("note: the directions kept before are of other weights, and are replaced")
        return None
    return old


def _show(found: Directions, path: Path, json: bool) -> None:
    every = list(found.every.values())
    angles = found.angles()
    if json:
        entries = [{"name": d.name, "kind": d.kind, "std": d.std, **d.facts} for d in every]
        degrees = [[round(a, 2) for a in row] for row in angles.tolist()]
        print_json({**found.origin, "directions": entries, "angles": degrees, "out": str(path)})
        return
    rows = [
        (d.name, d.kind, f"{d.std:.3g}", *(_share(d.facts, f) for f in ("accuracy", "majority")))
        for d in every
    ]
    if every[0].kind == "principal":
        rows_ = [(d.name, f"{d.std:.3g}", _share(d.facts, "explained")) for d in every]
        print_table(("direction", "std", "of the variance"), rows_)
    else:
        print_table(("direction", "from", "std", "accuracy", "always the commoner"), rows)
        main = [i for i, d in enumerate(every) if d.kind == "normal"][:MOST_ANGLES]
        if len(main) > 1:
            names = [every[i].name for i in main]
            cells = [
                [names[a], *(f"{angles[i, j]:.0f}°" for j in main)] for a, i in enumerate(main)
            ]
            print()
            print_table(("angle", *names), cells)
    print(path)


def _share(facts: Any, name: str) -> str:
    if name == "accuracy" and "r2" in facts:
        return f"R² {facts['r2']:.3f}"
    return f"{facts[name]:.1%}" if name in facts else ""
