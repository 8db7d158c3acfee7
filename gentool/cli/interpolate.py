"""``gentool interpolate``: a walk through the latent space, as pictures or as a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli import latent
from gentool.console import loading_bar, print_json
from gentool.errors import UserError, printable

if TYPE_CHECKING:
    import numpy as np

FILMS = (".gif", ".webp")
MOST = 10_000
SMALLEST = 256
"""Pixels that a film's longer side has at least."""


def interpolate(
    words: latent.Words = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="From one point to the next, both counted (10; films 30)."),
    ] = None,
    path: Annotated[
        str,
        typer.Option(
            "--path",
            metavar="auto|slerp|linear",
            help="Great circles, or lines; auto: circles under a Gaussian prior.",
        ),
    ] = "auto",
    loop: Annotated[bool, typer.Option("--loop", help="Go back to the first point.")] = False,
    class_: latent.Label = None,
    method: latent.MethodOption = "auto",
    fit: latent.FitOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="x.png, a film x.gif or x.webp, a folder/, or z.npz."),
    ] = None,
    device: latent.Device = "auto",
    force: latent.Force = False,
    json: latent.Json = False,
) -> None:
    """Walk from one point to the next; the ends are the points themselves."""
    film = out is not None and out.suffix.lower() in FILMS
    steps = steps or (30 if film else 10)
    latent.check_range("--steps", steps, 2, MOST)
    latent.one_of("--path", path, ("auto", "slerp", "linear"))
    source, points = latent.split(words)
    if not points:
        raise UserError("a walk needs two points or more, such as seed:1 seed:2")

    from gentool.latent.paths import kind_for, walk
    from gentool.latent.prior import measure
    from gentool.latent.reconstruct import decode

    model = latent.open_model(source, device)
    target = latent.target(
        model, out, force, "interpolate", [*(p[:24] for p in points[:4]), f"{steps}"]
    )
    _check_kind(target, model.header.data.kind)
    with loading_bar() as progress:
        found = latent.make_locator(
            model, label=class_, fit=fit, method=method, progress=progress
        ).locate(points)
        if len(found) < 2:
            raise UserError("a walk needs two points or more, such as seed:1 seed:2")
        prior = measure(model.model)
        kind: Any = kind_for(prior) if path == "auto" else path
        z, nearest = walk(found.z, steps, kind, loop=loop)
        labels = None if found.labels is None else found.labels[nearest]
        x = decode(model.model, z, labels)
    lines = len(found) if loop else len(found) - 1
    _write(
        target, x.numpy(), z.numpy(), steps, lines, loop, None if labels is None else labels.numpy()
    )
    if json:
        norms = z.flatten(1).norm(dim=1)
        print_json(
            {
                "path": kind,
                "points": list(found.titles),
                "pictures": len(x),
                "norm": {"least": norms.min().item(), "most": norms.max().item()},
                "shell": list(prior.shell),
                "out": str(target),
            }
        )
        return
    print(target)


def _check_kind(target: Path, kind: str) -> None:
    suffix = target.suffix.lower()
    if suffix not in (".png", ".npz", *FILMS, "") or (kind == "points" and suffix in (*FILMS, "")):
        known = "x.png, x.gif, x.webp, a folder/ or z.npz" if kind == "image" else "x.png or z.npz"
        raise UserError(f"--out {printable(str(target))} is none of {known}")


def _write(
    target: Path,
    x: np.ndarray,
    z: np.ndarray,
    steps: int,
    lines: int,
    loop: bool,
    labels: np.ndarray | None,
) -> None:
    """A line of pictures for each leg, a film, a folder, or arrays, by the name of `target`."""
    import numpy as np

    from gentool.files import user_errors, written_aside
    from gentool.render.grid import grid_image, to_image, to_pixels

    suffix = target.suffix.lower()
    with user_errors("the walk", target):
        if suffix == ".npz":
            arrays = {"x": to_pixels(x) if x.ndim == 4 else x, "z": z}
            arrays |= {} if labels is None else {"labels": labels}
            with written_aside(target) as aside:
                np.savez(aside, **arrays)  # type: ignore[arg-type]
            return
        # Each leg with both its ends, so that every line begins where the last one stopped.
        around = np.concatenate([x, x[:1]]) if loop else x
        legs = [around[i * (steps - 1) : i * (steps - 1) + steps] for i in range(lines)]
        if x.ndim == 2:
            from gentool.render.plane import draw_paths, save_figure

            save_figure(draw_paths(legs, [f"leg {i + 1}" for i in range(lines)]), target)
        elif suffix == ".png":
            from gentool.render.sheet import draw_sheet, save_sheet

            save_sheet(target, draw_sheet([list(to_pixels(leg)) for leg in legs]))
        elif suffix in FILMS:
            from gentool.render.film import save_frames

            frames = [grid_image(p[None], smallest=SMALLEST) for p in to_pixels(x)]
            save_frames(frames, target)
        else:
            target.mkdir(parents=True, exist_ok=True)
            for i, pixels in enumerate(to_pixels(x)):
                to_image(pixels).save(target / f"{i:06d}.png")
