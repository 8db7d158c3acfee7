"""Drawing examples from a trained or training model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gentool.model import Model
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
        labels: int64 (n,), for a class-conditional model; by default the classes in turn.
        z: latents to use instead of drawing them, (n, *latent_shape).
        draw: sample x ~ p(x|z) rather than take its mean, where the model has one.

    Returns:
        float32 on the CPU: images (n, C, H, W) in [0, 1], or points (n, D).
    """
    return torch.cat(list(stream(model, n, device, seed=seed, labels=labels, z=z, draw=draw)))


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
    if labels is None and model.classes:
        labels = torch.arange(n) % model.classes
    chunk = max(1, min(CHUNK, CHUNK_VALUES // size))
    for start in range(0, n, chunk):
        stop = min(n, start + chunk)
        with torch.inference_mode():
            noise = sampling_noise(seed, device, row_offset=start)
            latents = model.prior(stop - start, noise) if z is None else z[start:stop].to(device)
            chosen = None if labels is None else labels[start:stop].to(device)
            x = model.sample(latents, chosen, noise if draw else None).float().cpu()
        yield x
