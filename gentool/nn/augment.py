"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020, arXiv:2006.10738).

Real and generated images alike are changed by T before D looks, and gradients run through T into
the generator. So D cannot learn few images by heart, and what G makes is not augmented itself,
since D never sees anything that is not.

    color        brightness + U(−½, ½), saturation × U(0, 2), contrast × U(½, 1½)
    translation  shifted by up to an eighth of each side, zeros moving in
    cutout       a rectangle of half of each side is zero, anywhere
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gentool.noise import Noise

KINDS = ("color", "translation", "cutout")

SHIFT, CUT = 0.125, 0.5
"""Shares of a side: the furthest translation, and the side of what is cut out."""

ADVICE = "--augment " + ",".join(KINDS)
"""What to try where images are few."""


def augmented(u: Tensor, kinds: Sequence[str] | None, noise: Noise, name: str) -> Tensor:
    """T(u) of images u (N, C, H, W) in [−1, 1], each changed in its own way; differentiable in u.

    Args:
        kinds: of `KINDS`; they are applied in that order. None or empty: u itself.
        name: of the random streams. Two sets of images of one step need two names.
    """
    known = {"color": color, "translation": translation, "cutout": cutout}
    for kind in KINDS:
        if kinds and kind in kinds:
            u = known[kind](u, noise, f"{name}/{kind}")
    return u


def color(u: Tensor, noise: Noise, name: str) -> Tensor:
    """Brightness, then saturation about each pixel's mean over channels, then contrast."""
    a, b, c = (_uniform(u, noise, f"{name}/{part}") for part in ("bright", "colour", "contrast"))
    u = u + (a - 0.5)
    grey = u.mean(1, keepdim=True)
    u = (u - grey) * (2 * b) + grey
    mean = u.mean((1, 2, 3), keepdim=True)
    return (u - mean) * (c + 0.5) + mean


def translation(u: Tensor, noise: Noise, name: str) -> Tensor:
    """Shift by whole pixels, each within ±side/8, independently in both directions."""
    for dim, way in ((2, "down"), (3, "right")):
        side = u.shape[dim]
        most = int(side * SHIFT + 0.5)
        shift = torch.floor(_uniform(u, noise, f"{name}/{way}") * (2 * most + 1)).long() - most
        place = _places(u, dim) - shift
        inside = (place >= 0) & (place < side)
        u = u.gather(dim, place.clamp(0, side - 1).expand(u.shape)) * inside
    return u


def cutout(u: Tensor, noise: Noise, name: str) -> Tensor:
    """Zero a rectangle of half of each side, whose middle may lie anywhere, at the edge too."""
    cut = torch.ones((), dtype=torch.bool, device=u.device)
    for dim, way in ((2, "down"), (3, "right")):
        side = u.shape[dim]
        size = int(side * CUT + 0.5)
        middles = side + 1 - size % 2
        first = torch.floor(_uniform(u, noise, f"{name}/{way}") * middles).long() - size // 2
        place = _places(u, dim)
        cut = cut & (place >= first) & (place < first + size)
    return u * ~cut


def _uniform(u: Tensor, noise: Noise, name: str) -> Tensor:
    """U[0, 1) for each image, (N, 1, 1, 1)."""
    return noise.uniform(name, (len(u), 1, 1, 1)).to(u.dtype)


def _places(u: Tensor, dim: int) -> Tensor:
    """0 … side − 1 along `dim`, int64, of four dimensions."""
    shape = [1, 1, 1, 1]
    shape[dim] = u.shape[dim]
    return torch.arange(u.shape[dim], device=u.device).view(shape)
