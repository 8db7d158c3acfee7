"""What the verbs of the latent space share: RUN or POINT, options, where results go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool import runs
from gentool.errors import UserError, printable
from gentool.files import check_out

if TYPE_CHECKING:
    from gentool.console import Progress
    from gentool.latent.invert import Descent
    from gentool.latent.locate import Locator
    from gentool.latent.playable import PlayableModel

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN|FILE] POINT…",
        help="A run or model file (default: the latest run), then points: seed:7, an image file or "
        "folder, test:12, SRC:SPLIT:INDEX such as mnist:test:12, latents in a .npz, class:3.",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Where to (default: into the run).")]
Label = Annotated[str | None, typer.Option("--class", help="The points' class, by number or name.")]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="crop|pad|stretch",
        help="How an image of another size is brought to the model's.",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="auto|encoder|optimise",
        help="From an image to its latent: by the encoder, or by optimisation, which begins at "
        "the encoder's answer; auto: the encoder where there is one.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out names.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def split(words: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """RUN|FILE, if the first word is one, and the points."""
    every = list(words or ())
    if every and is_model(every[0]):
        return every[0], every[1:]
    return None, every


def is_model(word: str) -> bool:
    """Whether a word names a run or a model file rather than a point."""
    if word.endswith(".safetensors"):
        return True
    try:
        return any(runs.Run(p).config.is_file() for p in (Path(word), runs.ROOT / word))
    except (OSError, ValueError):  # a name that no file system takes
        return False


def open_model(source: str | None, device: str) -> PlayableModel:
    """The model that RUN|FILE names, on the device."""
    from gentool.devices import pick_device
    from gentool.latent.playable import load

    return load(source, pick_device(device))


def make_locator(
    model: PlayableModel,
    *,
    label: str | None,
    fit: str | None,
    method: str,
    progress: Progress,
    descent: Descent | None = None,
    weights: int = 0,
) -> Locator:
    """What finds the points, with the options as typed; raises UserError."""
    if label is not None:
        from gentool.latent.locate import class_number

        class_number(model.model, label)
    chosen: Any = one_of("--method", method, ("auto", "encoder", "optimise"))
    how: Any = None if fit is None else one_of("--fit", fit, ("crop", "pad", "stretch"))
    return model.locator(
        label=label, fit=how, method=chosen, descent=descent, weights=weights, progress=progress
    )


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    from gentool.errors import nearest

    if value not in known:
        raise UserError(
            f"{option} {printable(value)!r} is none of {', '.join(known)}{nearest(value, known)}"
        )
    return value


def check_range(option: str, value: float | None, least: float, most: float) -> None:
    """Raise UserError for a number outside its range."""
    if value is not None and not least <= value <= most:
        raise UserError(f"{option} is {value:g}, but it must be {least:g} to {most:g}")


def target(
    model: PlayableModel,
    out: Path | None,
    force: bool,
    verb: str,
    asked: Sequence[str],
    kind: str = "latent",
) -> Path:
    """Where a picture goes: --out, or else into the run, or beside the caller for a lone file.

    The name says what was asked for, so only the same picture is replaced. `kind` is the folder in
    the run.
    """
    if out is not None:
        check_out(out, force)
        return out
    name = re.sub(r"[^A-Za-z0-9_.=+-]+", "-", "-".join([verb, *asked])).strip("-.")[:100]
    if model.source.run is None or model.source.named_file:
        path = Path(f"{model.source.file.stem}-{name}.png")
        check_out(path, force)
        return path
    return model.source.run.inner(kind) / f"{name}.png"
