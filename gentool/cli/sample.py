"""``gentool sample``: pictures, or arrays, from a trained model. No data set is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.console import say, tell
from gentool.errors import UserError, nearest, printable
from gentool.files import check_out

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gentool.loading import LoadedModel
    from gentool.runs import Source

MOST = 1_000_000


def sample(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|FILE]", help="A run or a model file; default: the latest run."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="How many samples (default 64).")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="grid.png, a folder/ of PNGs, or samples.npz."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="One seed, one picture, anywhere.")] = 0,
    z: Annotated[
        Path | None, typer.Option("--z", help="Latents of your own: .npy, or .npz with 'z'.")
    ] = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw x ~ p(x|z) instead of taking its mean.")
    ] = False,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="A label's number or name, or 'all': one row a class."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what --out names.")] = False,
) -> None:
    """Draw samples from a trained model and say where they are."""
    if n is not None and not 1 <= n <= MOST:
        raise UserError(f"--n is {n}, but it must be at least 1 and at most {MOST}")
    if seed < 0:
        raise UserError(f"--seed is {seed}, but it must be at least 0")
    if out is not None:
        check_out(out, force)

    from gentool import runs
    from gentool.loading import load
    from gentool.train.devices import pick_device

    found = runs.locate(source)
    loaded = load(found.file, pick_device(device))
    latents = None if z is None else _read_latents(z, loaded, n)
    n = n or (64 if latents is None else len(latents))
    labels, columns = _labels(loaded, class_, n)
    n = n if labels is None else len(labels)
    x = loaded.sample(n, seed=seed, labels=labels, z=latents, draw=draw)
    out = out or _default_out(found, n, seed, class_, draw, z)
    kept = None if latents is None else latents.numpy()
    _write(x.numpy(), out, columns, kept, None if labels is None else labels.numpy())
    tell(str(out))


def _default_out(
    found: Source, n: int, seed: int, class_: str | None, draw: bool, z: Path | None
) -> Path:
    """Into the run that was sampled; beside the caller where it was a lone file.

    The name says what was asked for, so only the same samples replace each other.
    """
    import re

    asked = [f"n{n}", f"seed{seed}" if z is None else f"z-{z.stem}"]
    asked += [f"class-{class_}"] if class_ else []
    asked += ["drawn"] if draw else []
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(asked)) + ".png"
    if found.named_file or found.run is None:
        path = Path(f"{found.file.stem}-{name}")
        if path.exists():
            raise UserError(f"{path} already exists; choose another place with --out")
        return path
    return found.run.path / "sampled" / name


def _read_latents(path: Path, loaded: LoadedModel, n: int | None) -> Tensor:
    import zipfile

    import numpy as np
    import torch

    shown = printable(str(path))
    try:
        content = np.load(path, allow_pickle=False)
        array = content["z"] if isinstance(content, np.lib.npyio.NpzFile) else content
        array = np.asarray(array, dtype=array.dtype)
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        reason = printable(str(error), 100)
        raise UserError(
            f"--z {shown} cannot be read as .npy, or .npz with 'z': {reason}"
        ) from error
    shape = loaded.model.latent_shape
    wanted = ", ".join(["N", *map(str, shape)])
    if array.shape[1:] != shape or not len(array) or array.dtype.kind not in "fiu":
        raise UserError(
            f"--z {shown} holds {array.dtype} {array.shape}, but the model takes ({wanted}) numbers"
        )
    if n is not None and n != len(array):
        raise UserError(f"--z {shown} holds {len(array)} latents, so leave --n {n} out")
    if not np.isfinite(array).all():
        raise UserError(f"--z {shown} holds NaN or infinity; latents are finite numbers")
    return torch.from_numpy(array.astype(np.float32))


def _labels(loaded: LoadedModel, wanted: str | None, n: int) -> tuple[Tensor | None, int | None]:
    """Labels for a conditional model, and the columns of the grid."""
    import torch

    names = loaded.header.data.classes
    count = loaded.model.classes
    if not count:
        if wanted is not None:
            raise UserError(
                f"this {loaded.header.model} is not class-conditional; "
                "train one with --conditional to sample a class"
            )
        return None, None
    if wanted in (None, "all"):
        columns = max(1, -(-n // count))
        return torch.arange(count).repeat_interleave(columns), columns
    assert wanted is not None
    if wanted in names:
        return torch.full((n,), names.index(wanted)), None
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) < count:
        return torch.full((n,), int(wanted)), None
    raise UserError(
        f"--class {printable(wanted)!r} is none of {', '.join(map(printable, names[:20]))}"
        f"{nearest(wanted, names)}"
    )


def _write(
    x: np.ndarray, out: Path, columns: int | None, z: Any, labels: np.ndarray | None
) -> None:
    """Write samples as a grid, a folder of pictures, or arrays, by the name of `out`."""
    from gentool.files import user_errors, written_aside
    from gentool.render.grid import save_grid, to_image, to_pixels

    images = x.ndim == 4
    with user_errors("samples", out):
        if out.suffix == ".npz":
            import numpy as np

            arrays = {"x": to_pixels(x) if images else x, "z": z, "labels": labels}
            with written_aside(out) as aside:
                np.savez(aside, **{k: v for k, v in arrays.items() if v is not None})
        elif out.suffix.lower() == ".png" and images:
            save_grid(to_pixels(x), out, columns)
        elif out.suffix.lower() == ".png":
            from gentool.render.scatter import save_scatter

            save_scatter(x, out)
        elif out.suffix == "" and images:
            out.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(to_pixels(x)):
                to_image(image).save(out / f"{i:06d}.png")
        else:
            kinds = "grid.png, a folder/ or samples.npz" if images else "plot.png or samples.npz"
            raise UserError(f"--out {printable(str(out))} is none of {kinds}")
    if len(x) > 10_000 and out.suffix == ".png":
        say(f"note: {len(x)} samples in one picture; --out samples.npz keeps them as arrays")
