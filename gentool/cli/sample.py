"""``gentool sample``: pictures, or arrays, from a trained model. No data set is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.console import loading_bar, say, tell
from gentool.errors import UserError, check_whole, printable
from gentool.files import check_out

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gentool.loading import LoadedModel
    from gentool.runs import Run, Source
    from gentool.sampling import Layout

MOST = 1_000_000
LITERAL = "z:"
"""How a latent begins that is written out."""


def sample(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|FILE]", help="A run or a model file; default: the latest run."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="How many samples (default 64).")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="grid.png, a folder/ of PNGs, or samples.npz."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="One seed, one picture, anywhere.")] = 0,
    z: Annotated[
        str | None,
        typer.Option("--z", help="Latents of your own: .npy, .npz with 'z', or as z:0.5,-1."),
    ] = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw x ~ p(x|z) instead of taking its mean.")
    ] = False,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="A label's number or name, or 'all': one row a class."),
    ] = None,
    set_: Annotated[
        str | None,
        typer.Option("--set", help="Attributes of a model that is told some: smile=1,age=40."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    best: Annotated[
        bool, typer.Option("--best", help="The run's best epoch, best.safetensors, not its last.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The last weights, not their moving average.")
    ] = False,
    step: Annotated[
        int | None, typer.Option("--step", help="The checkpoint of this step, of those kept.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            metavar="mixture:K",
            help="Draw latents where the codes of the training data are: K Gaussians fitted to "
            "them, kept beside the model.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what --out names.")] = False,
) -> None:
    """Draw samples from a trained model and say where they are."""
    check_whole("--n", n, 1, MOST)
    check_whole("--seed", seed, 0)
    check_whole("--step", step, 0)
    if sum((best, raw, step is not None)) > 1:
        raise UserError("--best, --raw and --step name different weights; choose one of them")
    if out is not None:
        check_out(Path(out), force)

    from gentool import runs
    from gentool.devices import pick_device
    from gentool.loading import load

    found = runs.locate(source, step)
    if best or raw:
        found = runs.other_weights(found, best)
    loaded = load(found.file, pick_device(device))
    if raw and found.run is not None:
        from gentool.train.raw import with_last_weights

        with_last_weights(loaded, found.run)
    if prior is not None:
        if raw or step is not None or z is not None:
            raise UserError("--prior is of the run's model; leave --raw, --step and --z out")
        loaded = _under(prior, loaded, found)
    latents, labels = (None, None) if z is None else _read_latents(z, loaded, n)
    count = (n or 0) if latents is None else len(latents)
    layout = _layout(loaded, class_, set_, count, labels)
    special = "raw" if raw else prior
    path = Path(out or _default_out(found, layout.n, seed, class_ or set_, draw, z, special))
    how = {"seed": seed, "draw": draw}
    _write(loaded, layout, out or str(path), path, latents, how, found.run)
    tell(str(path))


def _under(prior: str, loaded: LoadedModel, found: Source) -> LoadedModel:
    """The model under a prior fitted to the data that its run was trained on."""
    from gentool.data.options import DataOptions
    from gentool.latent.locate import load_like
    from gentool.mixture import components, with_mixture

    k = components(prior)
    if found.run is None:
        raise UserError("--prior is fitted to the data of a run; name the run, not a lone file")
    own = DataOptions.of_run(found.run.read_config().get("data_options"), None, "of the run")
    with loading_bar() as progress:
        return with_mixture(
            loaded,
            found.file,
            found.run,
            k,
            lambda: load_like(loaded.model.data, None, own, progress).train,
        )


def _default_out(
    found: Source,
    n: int,
    seed: int,
    class_: str | None,
    draw: bool,
    z: str | None,
    special: str | None,
) -> Path:
    """Into the run that was sampled; beside the caller where it was a lone file.

    The name says what was asked for, so only the same samples replace each other.
    """
    import re

    asked = [f"n{n}", f"seed{seed}" if z is None else _stem(z)]
    asked += [f"class-{class_}"] if class_ else []
    asked += ["drawn"] if draw else []
    asked += [special] if special else ["best"] if _is_best(found) else []
    asked += [found.file.parent.name] if found.described else []
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(asked)) + ".png"
    if found.run is None or (found.named_file and not found.described):
        path = Path(f"{found.name if found.run is None else found.file.stem}-{name}")
        if path.exists():
            raise UserError(f"{path} already exists; choose another place with --out")
        return path
    return found.run.inner("sampled") / name


def _is_best(found: Source) -> bool:
    return found.run is not None and found.file.name == found.run.best.name


def _stem(z: str) -> str:
    """A few characters for a name of a picture of these latents."""
    from zlib import crc32

    literal = z.startswith(LITERAL)
    return f"z-{crc32(z.encode()):08x}" if literal else f"z-{Path(z).stem}"


def _read_latents(text: str, loaded: LoadedModel, n: int | None) -> tuple[Tensor, Tensor | None]:
    from gentool.latent.locate import read_latents, read_literal

    labels = None
    if text.startswith(LITERAL):
        latents = read_literal(text, loaded.model)
    else:
        latents, labels = read_latents(Path(text), loaded.model)
    if n is not None and n != len(latents):
        shown = printable(text, 80)
        raise UserError(f"--z {shown} holds {len(latents)} latents, so leave --n {n} out")
    return latents, labels


def _layout(
    loaded: LoadedModel, wanted: str | None, asked: str | None, n: int, given: Tensor | None
) -> Layout:
    """Which classes are drawn. `given` are the labels that came with the latents."""
    from gentool.sampling import SAMPLES, Layout, arrange, attribute_values

    if asked is not None or loaded.model.condition:
        if wanted is not None:
            raise UserError("--class is for models that are told a class; this one takes --set")
        n = n or SAMPLES
        return Layout(n, attribute_values(loaded.model, _values(asked or ""), n))
    return arrange(loaded.model, wanted, n, given, loaded.header.model)


def _beside(loaded: LoadedModel, labels: np.ndarray | None) -> dict[str, Any]:
    """What the model was told, as arrays that `--data` reads again: attributes in their units."""
    import numpy as np

    from gentool.data.attributes import in_units

    condition = loaded.model.condition
    if labels is None or not condition:
        return {"labels": labels}
    names = np.array([one.name for one in condition])
    return {"attributes": in_units(labels, condition), "attribute_names": names}


def _values(text: str) -> dict[str, float]:
    """What ``smile=1,age=40`` says."""
    found = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, value = part.rpartition("=")
        try:
            number = float(value)
            if not equals or not math.isfinite(number):
                raise ValueError
        except ValueError:
            raise UserError(
                f"--set {printable(part, 60)!r} is no name=number, such as smile=1"
            ) from None
        found[name.strip()] = number
    return found


def _write(
    loaded: LoadedModel,
    layout: Layout,
    out: str,
    path: Path,
    z: Tensor | None,
    how: dict[str, Any],
    run: Run | None,
) -> None:
    """Draw and write, some samples at a time, in the form that the name of `out` asks for."""
    from gentool.data.known import points_of
    from gentool.render import samples as files

    data, n = loaded.header.data, layout.n
    form = files.form_of(out, data.kind == "image")
    labels = None if layout.labels is None else layout.labels.numpy()
    with loading_bar() as progress:

        def chunks() -> Iterator[np.ndarray]:
            done = 0
            for x in loaded.stream(n, labels=layout.labels, z=z, **how):
                yield x.numpy()
                done += len(x)
                progress("drawing samples", done, n)

        if form == "arrays":
            beside = {"z": None if z is None else z.numpy(), **_beside(loaded, labels)}
            kept = {name: array for name, array in beside.items() if array is not None}
            files.write_arrays(path, chunks(), n, data.shape, kept)
        elif form == "folder":
            files.write_folder(path, chunks(), labels, data.classes, loaded.model.condition)
        elif form == "grid":
            files.write_grid(path, chunks(), n, data.shape, layout.columns, layout.cells)
        else:
            files.write_plot(path, chunks(), real=None if run is None else points_of(run, data))
    if n > 10_000 and form in ("grid", "plot"):
        say(f"note: {n} samples in one picture; --out samples.npz keeps them as arrays")
