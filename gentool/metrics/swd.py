"""Sliced Wasserstein distances: of point sets, and of image patches scale by scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.likeness import PROJECTIONS, sliced_wasserstein

PATCH, PATCHES = 7, 128
MOST_PATCHES = 2**16
"""Beyond 512 images each gives fewer patches: sorting millions adds time, not precision."""
SMALLEST = 14
"""Pyramids end before a side falls below this; with sides a power of two, at 16 as in the paper."""


def swd(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Sliced Wasserstein distance between two sets of points or images.

    Points: on the coordinates as they are. Images: on 7×7 patches of each level of a Laplacian
    pyramid, times 1,000 (Karras et al. 2018, section 5 and appendix), e.g. ``swd_28``, ``swd_14``
    and their mean ``swd``; up to 128 patches an image, each level normalised channel by channel.

    Args:
        real, fake: float (n, d), or uint8 (n, C, H, W); the same n.
    """
    if real.ndim == 2:
        return {"swd": sliced_wasserstein(real.float(), fake.float(), PROJECTIONS)}
    levels: dict[str, float] = {}
    for a, b in zip(_descriptors(real), _descriptors(fake), strict=True):
        side, patches_a, patches_b = a[0], normalised(a[1]), normalised(b[1])
        levels[f"swd_{side}"] = 1e3 * sliced_wasserstein(patches_a, patches_b, PROJECTIONS)
    return {"swd": sum(levels.values()) / len(levels), **levels}


def _descriptors(pixels: Tensor) -> list[tuple[int, Tensor]]:
    """(side, patches) of each level; patches float32 (N, C, PATCH, PATCH).

    Where the patches lie comes from a fixed generator, the same for both sides.
    """
    generator = torch.Generator().manual_seed(0)
    each = max(1, min(PATCHES, MOST_PATCHES // len(pixels)))
    levels: list[list[Tensor]] = []
    for part in pixels.split(500):
        for j, level in enumerate(laplacian_pyramid(part.float() / 255)):
            if j == len(levels):
                levels.append([])
            levels[j].append(_patches(level, each, generator))
    height, width = pixels.shape[2:]
    return [(min(height, width) >> j, torch.cat(parts)) for j, parts in enumerate(levels)]


def laplacian_pyramid(x: Tensor) -> list[Tensor]:
    """Band-pass images from fine to coarse, and the low-pass rest (Burt & Adelson 1983).

    Args:
        x: float (n, C, H, W).
    """
    levels = []
    while min(x.shape[2:]) // 2 >= SMALLEST:
        small = _blur(x)[:, :, ::2, ::2]
        levels.append(x - _enlarged(small, x.shape[2], x.shape[3]))
        x = small
    return [*levels, x]


def _blur(x: Tensor) -> Tensor:
    """The 5×5 binomial filter with mirrored borders."""
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])


def _enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Twice the size: zeros in between, then the same filter times four."""
    big = x.new_zeros((*x.shape[:2], height, width))
    big[:, :, ::2, ::2] = 4 * x
    return _blur(big)


def _patches(x: Tensor, each: int, generator: torch.Generator) -> Tensor:
    """Random patches of each image: (n·each, C, PATCH, PATCH); smaller in a smaller image."""
    n, channels, height, width = x.shape
    shape, side = (n, each, 1, 1), min(PATCH, height, width)
    top = torch.randint(height - side + 1, shape, generator=generator).to(x.device)
    left = torch.randint(width - side + 1, shape, generator=generator).to(x.device)
    steps = torch.arange(side, device=x.device)
    rows, columns = top + steps[:, None], left + steps[None, :]
    flat = (rows * width + columns).view(n, 1, -1).expand(-1, channels, -1)
    taken = x.flatten(2).gather(2, flat).view(n, channels, each, side, side)
    return taken.transpose(1, 2).flatten(0, 1)


def normalised(patches: Tensor) -> Tensor:
    """Zero mean and unit deviation of every channel over all patches; (N, C·PATCH²)."""
    mean = patches.mean((0, 2, 3), keepdim=True)
    deviation = patches.std((0, 2, 3), keepdim=True)
    return ((patches - mean) / deviation.clamp(min=1e-8)).flatten(1)
