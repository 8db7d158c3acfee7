"""Drawing examples from a trained or training model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
