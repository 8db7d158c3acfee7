"""Drawing examples from a trained or training model."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.model import Model
from gentool.noise import sampling_noise

CHUNK = 256
"""Samples drawn at a time; rows are indexed globally, so the chunk size changes no number."""


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
        labels: int64 (n,), for a class-conditional model.
        z: latents to use instead of drawing them, (n, *latent_shape).
        draw: sample x ~ p(x|z) rather than take its mean, where the model has one.

    Returns:
        float32 on the CPU: images (n, C, H, W) in [0, 1], or points (n, D).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, n, CHUNK):
            stop = min(n, start + CHUNK)
            noise = sampling_noise(seed, device, row_offset=start)
            latents = model.prior(stop - start, noise) if z is None else z[start:stop].to(device)
            chosen = None if labels is None else labels[start:stop].to(device)
            x = model.sample(latents, chosen, noise if draw else None)
            parts.append(x.float().cpu())
    return torch.cat(parts)
