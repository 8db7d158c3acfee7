"""``gentool restore``: what an image may have been before it was spoiled, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli import latent
from gentool.console import loading_bar, print_json, print_table, say
from gentool.errors import UserError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from gentool.restore.measurement import Measurement
    from gentool.restore.operators.base import Operator
    from gentool.restore.restorable import RestorableModel
    from gentool.restore.restoration import Restoration

SHOWN = 32
"""Images in one picture."""

MOST = 10_000
PANEL = "What is wrong with the image"
CHAINS = "How it is restored"


def restore(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|FILE] IMAGE…",
            help="A run or model file (default: the latest run), then images; or clean examples, "
            "such as test:12 or mnist:test:0-7, to be spoiled.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            "--missing",
            metavar="MASK",
            help="center, left, right, top, bottom, random:0.5, box:LEFT,TOP,RIGHT,BOTTOM, or a "
            "mask.png that is white where pixels are missing.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale", help="The image is so many times smaller a side.", rich_help_panel=PANEL
        ),
    ] = None,
    grey: Annotated[
        bool, typer.Option("--grey", help="The image has lost its colour.", rich_help_panel=PANEL)
    ] = False,
    measure: Annotated[
        int | None,
        typer.Option(
            "--measure", help="So many random projections are left of it.", rich_help_panel=PANEL
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            "--operator",
            metavar="NAME[:ARGUMENT]",
            help="Any of these, or one that a plugin brings; may be given several times.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            "--noise",
            help="Standard deviation of noise in the image, of values in [0, 1].",
            rich_help_panel=PANEL,
        ),
    ] = None,
    degrade: Annotated[
        bool,
        typer.Option(
            "--degrade",
            help="The images are clean: spoil them first, and print the error.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Spoil test examples of this data.", rich_help_panel=PANEL),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="How many of them.", rich_help_panel=PANEL)] = 16,
    samples: Annotated[
        int, typer.Option("--samples", help="Restorations an image.", rich_help_panel=CHAINS)
    ] = 8,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="posterior|map",
            help="Draws of p(z|y), or the most likely z alone.",
            rich_help_panel=CHAINS,
        ),
    ] = "posterior",
    sampler: Annotated[
        str,
        typer.Option(
            "--sampler",
            metavar="auto|hmc|slice|gibbs",
            help="Hamiltonian, elliptical slice, or Metropolis-within-Gibbs; auto is hmc.",
            rich_help_panel=CHAINS,
        ),
    ] = "auto",
    chains: Annotated[
        int, typer.Option("--chains", help="Chains an image.", rich_help_panel=CHAINS)
    ] = 4,
    warmup: Annotated[
        int, typer.Option("--warmup", help="Steps that are forgotten.", rich_help_panel=CHAINS)
    ] = 300,
    draws: Annotated[
        int,
        typer.Option("--draws", help="Steps that are kept.", rich_help_panel=CHAINS),
    ] = 250,
    restarts: Annotated[
        int, typer.Option("--restarts", help="Of --method map.", rich_help_panel=CHAINS)
    ] = 10,
    class_: latent.Label = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="picture.png; picture.npz beside it holds all numbers."),
    ] = None,
    device: latent.Device = "auto",
    force: latent.Force = False,
    json: latent.Json = False,
) -> None:
    """Fill holes, sharpen or colourise images: several answers, their mean, and how sure it is.

    The operators act in the order grey, scale, missing, --operator, measure: an image that is
    small and has holes is given with --scale and --missing.
    """
    steps = _steps(grey, scale, missing, operator, measure)
    for option, value, least, most in (
        ("--noise", noise, 1e-6, 1e3),
        ("--n", n, 1, MOST),
        ("--samples", samples, 1, 1000),
        ("--chains", chains, 1, 1000),
        ("--warmup", warmup, 0, 1_000_000),
        ("--draws", draws, 1, 1_000_000),
        ("--restarts", restarts, 1, 10_000),
        ("--seed", seed, 0, 2**62),
    ):
        latent.check_range(option, value, least, most)
    chosen: Any = latent.one_of("--method", method, ("posterior", "map"))
    kernel: Any = latent.one_of("--sampler", sampler, ("auto", "hmc", "slice", "gibbs"))
    if not steps and noise is None:
        raise UserError(
            "say what is wrong with the image: --missing, --scale, --grey, --noise, --measure or "
            "--operator"
        )
    source, points = latent.split(words)

    import dataclasses

    from gentool.restore.maximum import PLAN
    from gentool.restore.posterior import Schedule
    from gentool.train.stopping import StopRequest

    model = _open(source, device)
    where = _target(model, out, force, [*steps, *(p[:24] for p in points[:2])])
    taken = model.operator(steps, seed)
    with loading_bar() as progress:
        seen, truth, titles = _seen(model, taken, points, data, n, noise, degrade, seed, progress)
    labels = _labels(model, class_, len(seen))
    schedule = Schedule(chains, warmup, draws, seed=seed)
    with loading_bar() as progress, StopRequest() as request:
        from gentool.restore.restoration import restore as run

        found = run(
            model.model,
            seen,
            samples=samples,
            method=chosen,
            sampler=kernel,
            schedule=schedule,
            descent=dataclasses.replace(PLAN, restarts=restarts, seed=seed),
            labels=labels,
            progress=progress,
            stop=lambda: request.pending() is not None,
        )
    _write(where, found, truth, titles)
    _report(found, truth, titles, where, json)
    stopped = request.pending()
    if stopped is not None:
        raise stopped


def _steps(
    grey: bool,
    scale: int | None,
    missing: str | None,
    operator: list[str] | None,
    measure: int | None,
) -> list[str]:
    """The operators as `gentool.restore.operators.registry` takes them, in their order."""
    steps = ["grey"] if grey else []
    steps += [f"scale:{scale}"] if scale is not None else []
    steps += [f"missing:{missing}"] if missing is not None else []
    steps += operator or []
    return [*steps, *([f"measure:{measure}"] if measure is not None else [])]


def _open(source: str | None, device: str) -> RestorableModel:
    from gentool.devices import pick_device
    from gentool.restore.restorable import load

    model = load(source, pick_device(device))
    if model.model.data.kind != "image":
        raise UserError(
            f"this {model.header.model} makes points, and restore is for images; in Python, "
            "model.restore() takes points too"
        )
    return model


def _target(model: RestorableModel, out: Path | None, force: bool, asked: list[str]) -> Path:
    if out is not None and out.suffix.lower() == ".npz":
        out = out.with_suffix(".png")
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"--out {printable(str(out), 80)} is neither a picture.png nor a .npz")
    return latent.target(model, out, force, "restored", asked, "restored")


def _seen(
    model: RestorableModel,
    taken: Operator,
    points: list[str],
    data: str | None,
    n: int,
    noise: float | None,
    degrade: bool,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> tuple[Measurement, Tensor | None, list[str]]:
    """What was seen, the truth where it is known, and a few characters an image."""
    import torch

    from gentool.latent.points import Example, Picture, parse_all, title
    from gentool.restore import images
    from gentool.restore.measurement import Measurement, measure

    if data is not None and points:
        raise UserError("--data is for test examples without images; leave one of them out")
    if data is not None:
        points, degrade = [f"{data}:test:0-{n - 1}"], True
    if not points:
        raise UserError(
            "name an image to restore, or spoil test examples with --data SRC, such as --data mnist"
        )
    every = parse_all(points)
    if not all(isinstance(p, Picture | Example) for p in every):
        raise UserError("seeds, classes and latents are no images; give image files or test:12")
    examples = [p for p in every if isinstance(p, Example)]
    if examples and len(examples) < len(every) and not degrade:
        raise UserError(
            "the examples of data are clean, so they are spoiled first; give --degrade to have "
            "the image files spoiled too"
        )
    titles = [title(p) for p in every]
    if examples or degrade:
        locator = model.locator(progress=progress)
        shape = tuple(model.model.data.shape)
        x = torch.stack(
            [
                images.read(p.path, shape, "the model makes")
                if isinstance(p, Picture)
                else locator.example(p)[0]
                for p in every
                if isinstance(p, Picture | Example)
            ]
        )
        return measure(x, taken, noise, seed), x, titles
    if len(taken.out_shape) != 3:
        raise UserError(
            f"after {taken.name} there is no image left to be read; give clean images and --degrade"
        )
    what = "the model makes" if taken.chooses else f"after {taken.name} there must be"
    y = torch.stack(
        [images.read(p.path, taken.out_shape, what) for p in every if isinstance(p, Picture)]
    )
    return Measurement(taken, y * taken.measured, noise), None, titles


def _labels(model: RestorableModel, wanted: str | None, n: int) -> Tensor | None:
    import torch

    from gentool.latent.locate import class_number

    if wanted is None:
        return None
    return torch.full((n,), class_number(model.model, wanted))


def _write(path: Path, found: Restoration, truth: Tensor | None, titles: list[str]) -> None:
    """The picture, and all numbers beside it."""
    import numpy as np

    from gentool.files import user_errors, written_aside
    from gentool.render.sheet import save_sheet
    from gentool.restore.picture import draw_restoration

    arrays: dict[str, Any] = {
        "y": found.measurement.y,
        "measured": found.measurement.operator.measured,
        "preview": found.preview,
        "samples": found.samples,
        "mean": found.mean,
        "std": found.std,
        "z": found.z,
        "labels": found.labels,
        "truth": truth,
    }
    if found.draws is not None:
        d = found.draws
        arrays |= {"rhat": d.rhat, "effective": d.effective, "acceptance": d.acceptance}
        arrays |= {"chains": d.z, "log_likelihood": d.value}
    with user_errors("the restorations", path):
        save_sheet(path, draw_restoration(found, truth, titles, SHOWN))
        with written_aside(path.with_suffix(".npz")) as aside:
            kept = {k: v.cpu().numpy() for k, v in arrays.items() if v is not None}
            np.savez(aside, **kept)


def _report(
    found: Restoration, truth: Tensor | None, titles: list[str], path: Path, json: bool
) -> None:
    rows: list[dict[str, Any]] = []
    error = None if truth is None else (found.mean - truth).square().flatten(1).mean(1)
    spread = found.std.flatten(1).square().mean(1).sqrt()
    for i, name in enumerate(titles):
        row: dict[str, Any] = {"image": name}
        if error is not None:
            row["error"] = error[i].item()
        if found.draws is not None:
            row |= {
                "deviation": spread[i].item(),
                "rhat": found.draws.rhat[i].item(),
                "effective": found.draws.effective[i].item(),
                "acceptance": found.draws.acceptance[i].item(),
            }
        rows.append(row)
    how = "the decoder's own likelihood" if found.exact else f"Gaussian noise of {found.noise:g}"
    if json:
        facts = {
            "operator": found.measurement.operator.name,
            "likelihood": how,
            "method": "map" if found.draws is None else "posterior",
            "sampler": found.sampler or None,
            "images": rows,
            "notes": list(found.notes),
            "out": str(path),
            "arrays": str(path.with_suffix(".npz")),
        }
        print_json(_finite(facts))
        return
    columns = list(rows[0])
    print_table(columns, [[_cell(row[c]) for c in columns] for row in rows])
    if error is not None:
        what = "of the mean" if found.draws is not None else "of the most likely image"
        say(f"mean squared error a value {what}: {error.mean():.4g}")
    say(f"{found.measurement.operator.name}; {how}")
    for note in found.notes:
        say(f"note: {note}")
    if len(titles) > SHOWN:
        say(f"note: the picture shows the first {SHOWN} of {len(titles)}; the .npz holds all")
    print(path)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """JSON has no NaN: None instead."""
    import math

    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
