"""Drawing examples from a trained or training model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import index

import torch
from torch import Tensor

from gentool.errors import UserError, nearest, printable
from gentool.model import Model, in_turn
from gentool.noise import sampling_noise

CHUNK, CHUNK_VALUES = 256, 2**24
"""Samples drawn at a time, fewer where they are large; noise is indexed by the global row."""


def draw_samples(
    model: Model,
    n: int,
    device: torch.device,
    *,
    seed: int = 0,
    labels: Tensor | None = None,
    z: Tensor | None = None,
    draw: bool = False,
) -> Tensor:
    """Examples from `model`, which should be in eval mode.

    Args:
        n: how many.
        seed: the same seed gives the same latents on every device, whatever n is.
        labels: int64 (n,) for a class-conditional model, float32 (n, K) for one that is told
            attributes; by default as `Model.in_turn` has them.
        z: latents to use instead of drawing them, (n, *latent_shape).
        draw: sample x ~ p(x|z) rather than take its mean, where the model has one.

    Returns:
        float32 on the CPU: images (n, C, H, W) in [0, 1], or points (n, D).

    Raises:
        UserError: for n below 1.
    """
    n, seed = index(n), index(seed)  # numpy's too
    if n < 1:
        raise UserError(f"{n} samples cannot be drawn; ask for at least 1")
    return torch.cat(list(stream(model, n, device, seed=seed, labels=labels, z=z, draw=draw)))


def attribute_values(model: Model, asked: Mapping[str, float], n: int) -> Tensor:
    """What a model that is told attributes is to be told of n samples, as its `labels`.

    Args:
        asked: attribute -> its value in its own units, 0 or 1 for a binary one. The others are as
            in `Model.in_turn`.

    Returns:
        float32 (n, K) on the CPU.

    Raises:
        UserError: for a model that is told none, a name it does not know, and a binary attribute
            that is neither 0 nor 1.
    """
    known = {one.name: k for k, one in enumerate(model.condition)}
    if not known:
        raise UserError("this model is told no attributes; train one with --condition to set them")
    for name in asked:
        if name not in known:
            raise UserError(
                f"this model is told {', '.join(map(printable, known))}, but not "
                f"{printable(name, 40)!r}{nearest(name, known)}"
            )
    free = [one for one in model.condition if one.name not in asked]
    told = torch.zeros(n, len(known))
    for one, column in zip(free, in_turn(free, n).T, strict=True):
        told[:, known[one.name]] = column
    for name, value in asked.items():
        one = model.condition[known[name]]
        if one.kind == "binary" and value not in (0, 1):
            raise UserError(f"{name} is {value:g}, but it is binary: 0 or 1")
        told[:, known[name]] = (value - one.mean) / one.scale
    return told


def stream(
    model: Model,
    n: int,
    device: torch.device,
    *,
    seed: int = 0,
    labels: Tensor | None = None,
    z: Tensor | None = None,
    draw: bool = False,
    size: int = 1,
) -> Iterator[Tensor]:
    """The same, some at a time, so that memory does not grow with n.

    Args:
        size: numbers in one example.
    """
    if labels is None:
        labels = model.in_turn(n)
    chunk = max(1, min(CHUNK, CHUNK_VALUES // size))
    for start in range(0, n, chunk):
        stop = min(n, start + chunk)
        with torch.inference_mode():
            noise = sampling_noise(seed, device, row_offset=start)
            latents = model.prior(stop - start, noise) if z is None else z[start:stop].to(device)
            chosen = None if labels is None else labels[start:stop].to(device)
            x = model.sample(latents, chosen, noise if draw else None).float().cpu()
        yield x


SAMPLES = 64
"""Drawn where nobody says how many."""


@dataclass(frozen=True)
class Layout:
    """How many samples, of which classes, and their places in a grid.

    Attributes:
        labels: int64 (n,) of a class-conditional model, float32 (n, K) of one that is told
            attributes, else None.
        columns: of the grid, with one row a class.
        cells: the place of each sample in that grid.
    """

    n: int
    labels: Tensor | None = None
    columns: int | None = None
    cells: list[int] | None = None


def arrange(
    model: Model,
    wanted: str | None,
    n: int,
    given: Tensor | None = None,
    name: str = "model",
    values: Mapping[str, float] | None = None,
) -> Layout:
    """Which classes or attributes are drawn, and where they lie in a grid.

    Args:
        wanted: a class by number or name, "all" for one row a class; None: all, or `given`.
        n: how many; 0 leaves it to the layout.
        given: labels that came with the latents.
        name: what the model is called in a complaint.
        values: of attributes, for a model that is told some.

    Raises:
        UserError: for a class that there is not.
    """
    if model.condition:
        if wanted is not None:
            raise UserError("--class is for models that are told a class; this one takes --set")
        return Layout(n or SAMPLES, attribute_values(model, values or {}, n or SAMPLES))
    names, count = model.data.classes, model.classes
    if not count:
        if wanted is not None:
            raise UserError(
                f"this {name} is not class-conditional; "
                "train one with --conditional to sample a class"
            )
        return Layout(n or SAMPLES)
    if wanted is None and given is not None:
        return Layout(n, given)
    if wanted in (None, "all"):
        columns = -(-(n or SAMPLES) // count)
        n = n or columns * count  # by default whole rows
        per_class = torch.tensor([n // count + (label < n % count) for label in range(count)])
        labels = torch.arange(count).repeat_interleave(per_class)
        cells = [row * columns + i for row, k in enumerate(per_class.tolist()) for i in range(k)]
        return Layout(n, labels, columns, cells)
    assert wanted is not None
    if wanted in names:
        return Layout(n or SAMPLES, torch.full((n or SAMPLES,), names.index(wanted)))
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) < count:
        return Layout(n or SAMPLES, torch.full((n or SAMPLES,), int(wanted[:9])))
    raise UserError(
        f"--class {printable(wanted)!r} is none of {', '.join(map(printable, names[:20]))}"
        f"{nearest(wanted, names)}"
    )
