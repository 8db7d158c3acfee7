"""``gentool edit``: turn something up and down, keep the rest, or do arithmetic with faces."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli import latent
from gentool.console import loading_bar, print_json
from gentool.errors import UserError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from gentool.latent.edit import Along
    from gentool.latent.locate import Located, Locator
    from gentool.latent.playable import PlayableModel

MOST_PICTURES = 2_000


def edit(
    words: latent.Words = None,
    along: Annotated[
        list[str] | None,
        typer.Option(
            "--along",
            metavar="NAME=FROM:TO:STEPS",
            help="A direction and strengths in standard deviations, such as smile=-3:3:7; a second "
            "one makes a table of both.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAME", help="A direction along which nothing may change."),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="'a - b + c'",
            help="Arithmetic: the points are a, b, c, …, or have names as in a=@folder/ and "
            "b=seed:1,seed:2, each the mean of its points.",
        ),
    ] = None,
    directions: Annotated[
        Path | None,
        typer.Option("--directions", help="A file of directions (default: the run's own)."),
    ] = None,
    class_: latent.Label = None,
    method: latent.MethodOption = "auto",
    fit: latent.FitOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="x.png or x.npz.")] = None,
    device: latent.Device = "auto",
    force: latent.Force = False,
    json: latent.Json = False,
) -> None:
    """Draw each point with something turned up and down: one row a point."""
    from gentool.latent.edit import parse_along

    asked = [parse_along(text) for text in along or ()]
    source, points = latent.split(words)
    if len(asked) > 2:
        raise UserError("--along is given more than twice; a table has two sides")
    if len({one.name for one in asked}) < len(asked):
        raise UserError("--along names one direction twice; a table needs two")
    if not points:
        raise UserError("edit needs a point, such as seed:1, face.png or test:0-7")
    if not asked and mix is None:
        raise UserError("say what to do: --along smile=-3:3:7, or --mix 'a - b + c'")
    model = latent.open_model(source, device)
    words_ = [
        *(p[:24] for p in points[:3]),
        *(f"{a.name}" for a in asked),
        *(["mix"] if mix else []),
    ]
    path = latent.target(model, out, force, "edit", words_)
    if path.suffix.lower() not in (".png", ".npz"):
        raise UserError(f"--out {printable(str(path))} is neither x.png nor x.npz")
    known = model.kept_directions(directions) if asked else None
    if known is not None:
        for name in (*(one.name for one in asked), *(keep or ())):
            known[name]  # refused before the long work
    with loading_bar() as progress:
        locator = latent.make_locator(
            model, label=class_, fit=fit, method=method, progress=progress
        )
        if mix is None:
            found = locator.locate(points)
            z, labels, titles = found.z, found.labels, list(found.titles)
            shown: list[tuple[str, Tensor, Any]] = []
        else:
            z, labels, titles, shown = _mixed(locator, points, mix)
        _draw(model, path, z, labels, titles, asked, keep or [], known, shown)
    if json:
        print_json(
            {
                "points": titles,
                "along": [{"name": a.name, "strengths": list(a.strengths)} for a in asked],
                "keep": keep or [],
                "mix": mix,
                "out": str(path),
            }
        )
        return
    print(path)


def _mixed(
    locator: Locator, points: list[str], expression: str
) -> tuple[Tensor, Tensor | None, list[str], list[tuple[str, Tensor, Any]]]:
    """The sum of the terms as one point, and the terms, to be shown before it."""
    from gentool.latent.edit import mix

    found: dict[str, Located] = {}
    letters = iter(string.ascii_lowercase)
    for word in points:
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier()):
            name, value = next((c for c in letters if c not in found), ""), word
        parts = [part.removeprefix("@") for part in value.split(",") if part]
        if not name or not parts:
            raise UserError(f"{printable(word)!r} names no points; write a=seed:1,seed:2")
        found[name] = locator.locate(parts)
    z = mix(expression, {name: one.z for name, one in found.items()})[None]
    first = next(iter(found.values()))
    labels = None if first.labels is None else first.labels[:1]
    shown = [
        (name, one.z.mean(0, keepdim=True), None if one.labels is None else one.labels[:1])
        for name, one in found.items()
    ]
    return z, labels, [expression], shown


def _draw(
    model: PlayableModel,
    path: Path,
    z: Tensor,
    labels: Tensor | None,
    titles: list[str],
    along: list[Along],
    keep: list[str],
    known: Any,
    shown: list[tuple[str, Tensor, Any]],
) -> None:
    import numpy as np

    from gentool.files import user_errors, written_aside
    from gentool.latent.edit import edit as edited
    from gentool.latent.reconstruct import decode
    from gentool.render.grid import to_pixels

    table = edited(z, along, known, keep) if along else z
    lead = [len(one.strengths) for one in along]
    total = len(z) * int(np.prod(lead))
    if total > MOST_PICTURES:
        raise UserError(f"that makes {total:,} pictures, more than {MOST_PICTURES:,}")
    flat = table.reshape(-1, *z.shape[1:])
    repeated = None if labels is None else labels.repeat_interleave(total // len(z))
    x = decode(model.model, flat, repeated).numpy()
    with user_errors("the edited pictures", path):
        if path.suffix.lower() == ".npz":
            pixels = to_pixels(x) if x.ndim == 4 else x
            arrays = {"x": pixels.reshape(len(z), *lead, *x.shape[1:]), "z": table.numpy()}
            with written_aside(path) as aside:
                np.savez(aside, **arrays)  # type: ignore[arg-type]
            return
        if x.ndim == 2:
            from gentool.render.plane import draw_paths, save_figure

            save_figure(draw_paths(list(x.reshape(len(z), -1, x.shape[1])), titles), path)
            return
        terms = [(name, decode(model.model, m, k).numpy()) for name, m, k in shown]
        _sheet(path, to_pixels(x), titles, along, [(n, to_pixels(p)[0]) for n, p in terms])


def _sheet(
    path: Path, x: Any, titles: list[str], along: list[Along], terms: list[tuple[str, Any]]
) -> None:
    """One row a point; for two directions a table a point, the second direction downwards."""
    from gentool.render.sheet import draw_sheet, save_sheet

    across = len(along[0].strengths) if along else 1
    columns = [f"{s:+.3g}" for s in along[0].strengths] if along else []
    if len(along) == 2:
        down = along[1].strengths
        grids = x.reshape(len(titles), across, len(down), *x.shape[1:]).swapaxes(1, 2)
        rows = [list(row) for grid in grids for row in grid]
        names = [
            f"{title} {along[1].name} {s:+.3g}" if k == 0 else f"{s:+.3g}"
            for title in titles
            for k, s in enumerate(down)
        ]
    else:
        rows = [list(x[i : i + across]) for i in range(0, len(x), across)]
        names = list(titles)
    if terms:  # what was mixed, above what came out
        rows = [[picture for _, picture in terms], *rows]
        names = [", ".join(name for name, _ in terms), *names]
        columns = []
    save_sheet(path, draw_sheet(rows, titles=names, columns=columns))
