"""``gentool reconstruct``: originals beside what a model makes of them, with the errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli import latent
from gentool.console import loading_bar, print_json, print_table, say
from gentool.errors import UserError, printable

if TYPE_CHECKING:
    from gentool.latent.invert import Descent
    from gentool.latent.locate import Located
    from gentool.latent.playable import PlayableModel

ACROSS = 8
"""Originals in a line."""

SHOWN = 64
"""Points in one picture."""

MOST = 10_000


def reconstruct(
    words: latent.Words = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Without points: this data's test examples (the run's own)."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="How many of them.")] = 32,
    method: latent.MethodOption = "auto",
    steps: Annotated[
        int, typer.Option("--steps", help="Of the optimisation, at most; some stop earlier.")
    ] = 500,
    restarts: Annotated[
        int | None,
        typer.Option(
            "--restarts", help="Starting points an image (default 10; 1 beside an encoder)."
        ),
    ] = None,
    lr: Annotated[float, typer.Option("--lr", help="Adam's learning rate on z.")] = 0.05,
    prior_weight: Annotated[
        float,
        typer.Option("--prior-weight", help="λ of ‖x̂ − x‖² + λ‖z‖², a sum over values in [0, 1]."),
    ] = 0.0,
    k: Annotated[
        int, typer.Option("--k", help="Latents an example for log p(x); 0 leaves it out.")
    ] = 100,
    map_: Annotated[
        bool,
        typer.Option("--map", help="Draw the plane of a model of 2 latents: encodings, decodings."),
    ] = False,
    class_: latent.Label = None,
    fit: latent.FitOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the optimisation's restarts.")] = 0,
    out: latent.Out = None,
    device: latent.Device = "auto",
    force: latent.Force = False,
    json: latent.Json = False,
) -> None:
    """Show images above their reconstructions, and say how far these are.

    --out z.npz keeps the latents instead of a picture.
    """
    latent.check_range("--n", n, 1, MOST)
    latent.check_range("--steps", steps, 0, 1_000_000)
    latent.check_range("--restarts", restarts, 1, 10_000)
    latent.check_range("--lr", lr, 1e-9, 1e3)
    latent.check_range("--prior-weight", prior_weight, 0, 1e9)
    latent.check_range("--k", k, 0, 1_000_000)
    latent.check_range("--seed", seed, 0, 2**62)
    source, points = latent.split(words)
    if points and data is not None:
        raise UserError("--data is for examples without points; write its points as SRC:test:0-31")

    from gentool.latent.invert import Descent

    model = latent.open_model(source, device)
    if map_:
        _map(model, data, points, out, force, 2000 if n == 32 else n)
        return
    encodes = "reconstruct" in model.spec.capabilities
    tries = restarts or (1 if encodes else 10)
    descent = Descent(steps=steps, restarts=tries, lr=lr, prior_weight=prior_weight, seed=seed)
    points = points or [_examples(model, data, n)]
    asked = [method, *(p[:24] for p in points[:3])]
    path = latent.target(model, out, force, "reconstruct", asked)
    _check_kind(path, model)
    with loading_bar() as progress:
        locator = latent.make_locator(
            model,
            label=class_,
            fit=fit,
            method=method,
            descent=descent,
            weights=k,
            progress=progress,
        )
        found = locator.locate(points)
    if found.reconstruction is None:
        raise UserError(
            "seeds and latents have no original to compare with; give images or data, or draw them "
            "with gentool interpolate or edit"
        )
    _write(path, found)
    _report(found, path, json, model, descent)


def _examples(model: PlayableModel, data: str | None, n: int) -> str:
    """The first n test examples; fewer where there are not so many."""
    from gentool.latent.locate import load_like

    with loading_bar() as progress:
        dataset = load_like(model.model.data, data, model.data_options, progress)
    split = "test" if len(dataset.test) else "train"
    last = min(n, len(getattr(dataset, split))) - 1
    return f"{data}:{split}:0-{last}" if data is not None else f"{split}:0-{last}"


def _check_kind(path: Path, model: PlayableModel) -> None:
    if path.suffix.lower() not in (".png", ".npz"):
        raise UserError(f"--out {printable(str(path))} is neither a picture.png nor a z.npz")


def _write(path: Path, found: Located) -> None:
    """A picture, or all arrays."""
    import numpy as np

    from gentool.files import user_errors, written_aside
    from gentool.render.grid import to_pixels

    r = found.reconstruction
    assert r is not None
    with user_errors("the reconstructions", path):
        if path.suffix.lower() == ".npz":
            arrays = {"z": found.z, "labels": found.labels, "x": r.x, "again": r.again}
            arrays |= {"error": r.error, "log_likelihood": r.log_likelihood}
            with written_aside(path) as aside:
                kept = {k: v.numpy() for k, v in arrays.items() if v is not None}
                np.savez(aside, **kept)  # type: ignore[arg-type]
        elif r.x.dim() == 2:
            from gentool.render.plane import draw_pairs, save_figure

            save_figure(draw_pairs(r.x.numpy(), r.again.numpy()), path)
        else:
            from gentool.render.sheet import draw_sheet, save_sheet

            x, again = to_pixels(r.x[:SHOWN].numpy()), to_pixels(r.again[:SHOWN].numpy())
            names = [found.titles[i] for i in found.rows.tolist()]
            rows: list[list[Any]] = []
            captions: list[list[str]] = []
            for start in range(0, len(x), ACROSS):
                part = slice(start, start + ACROSS)
                rows += [list(x[part]), list(again[part])]
                captions += [names[:SHOWN][part], [f"{e:.4f}" for e in r.error[:SHOWN][part]]]
            save_sheet(path, draw_sheet(rows, captions=captions))


def _report(found: Located, path: Path, json: bool, model: PlayableModel, descent: Descent) -> None:
    r = found.reconstruction
    assert r is not None
    names = [found.titles[i] for i in found.rows.tolist()]
    classes = model.header.data.classes
    entries = []
    for i, name in enumerate(names):
        entry: dict[str, Any] = {"point": name, "error": r.error[i].item()}
        if r.log_likelihood is not None:
            entry["log_likelihood"] = r.log_likelihood[i].item()
        if r.labels is not None:
            entry["class"] = classes[int(r.labels[i])]
        if r.restarts is not None and r.restarts.shape[1] > 1:
            entry["restarts"] = r.restarts[i].tolist()
        entries.append(entry)
    mean = r.error.mean().item()
    if json:
        settings = {} if r.restarts is None else {"optimisation": vars(descent)}
        facts = {"method": r.method, **settings, "mean_error": mean, "points": entries}
        print_json({**facts, "out": str(path)})
        return
    columns = [c for c in ("point", "error", "log_likelihood", "class") if c in entries[0]]
    cells = [[_cell(entry[c]) for c in columns] for entry in entries]
    cells.append([_cell(_mean(c, entries, mean)) for c in columns])
    print_table([c.replace("_", " ") for c in columns], cells)
    how = "the encoder" if r.method == "encoder" else "optimisation"
    worst = int(r.error.argmax())
    say(
        f"mean squared error a value, by {how}; the worst is {names[worst]} with "
        f"{r.error[worst]:.4f}"
    )
    if len(names) > SHOWN and path.suffix == ".png":
        say(f"note: the picture shows the first {SHOWN} of {len(names)}; --out z.npz keeps all")
    print(path)


def _mean(column: str, entries: list[dict[str, Any]], error: float) -> Any:
    if column == "error":
        return error
    if column == "log_likelihood":
        return sum(e[column] for e in entries) / len(entries)
    return "mean" if column == "point" else ""


def _cell(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _map(
    model: PlayableModel,
    data: str | None,
    points: list[str],
    out: Path | None,
    force: bool,
    n: int,
) -> None:
    """The picture of Kingma & Welling 2014, figure 4, beside the encoded test data."""
    from gentool.latent.chart import chart

    if points:
        raise UserError("--map draws the whole plane, and takes no points")
    path = latent.target(model, out, force, "map", [])
    if path.suffix.lower() != ".png":
        raise UserError(f"--out {printable(str(path))} is no picture.png")
    with loading_bar() as progress:
        figure = chart(model.model, data, model.data_options, n, progress)
    from gentool.files import user_errors
    from gentool.render.plane import save_figure

    with user_errors("the map", path):
        save_figure(figure, path)
    print(path)
