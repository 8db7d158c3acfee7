"""Diversity among samples by multi-scale structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
PAIRS = 2000


def diversity(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Mean MS-SSIM of random pairs of fakes, whatever their class. `real` is not used.

    As Karras et al. (2018, arXiv:1710.10196, section 6.1) take it from Odena et al. (2017), who
    pair within a class: their numbers are higher, and do not compare with these. Colours are
    averaged over channels before the product over scales.

    1 means that all samples are alike. There is no ideal but the data's own value, which stands
    beside it as the floor.

    Args:
        fake: uint8 (n, C, H, W).
    """
    n = len(fake)
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(n, (min(PAIRS, n * n),), generator=generator)
    second = (first + torch.randint(1, n, first.shape, generator=generator)) % n
    total = 0.0
    for start in range(0, len(first), 100):
        a = fake[first[start : start + 100].to(fake.device)].float() / 255
        b = fake[second[start : start + 100].to(fake.device)].float() / 255
        total += ms_ssim(a, b).double().sum().item()
    return {"ms_ssim": total / len(first)}


def scales(height: int, width: int) -> int:
    """How many of the five scales an image is large enough for."""
    count, side = 1, min(height, width) // 2
    while side >= WINDOW and count < len(WEIGHTS):
        count, side = count + 1, side // 2
    return count


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM of image pairs (Wang et al. 2003, eq. 7): l_M^α · Π_j cs_j^β.

    Images below 176 pixels are too small for five scales: the weights of those that fit are
    scaled to sum to 1. An image below the window of 11 pixels gets a smaller, odd window.

    Args:
        a, b: float (n, C, H, W) in [0, 1].

    Returns:
        (n,), at most 1; negative contrast terms count as 0.
    """
    count = scales(*a.shape[2:])
    total = sum(WEIGHTS[:count])
    result = a.new_ones(len(a))
    for j in range(count):
        luminance, contrast = _ssim_parts(a, b)
        last = j == count - 1
        part = luminance * contrast if last else contrast
        similarity = part.flatten(1).mean(1).clamp(min=0)
        result = result * similarity ** (WEIGHTS[j] / total)
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def _ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, at every position (Wang et al. 2004, eq. 6–10)."""
    side = min(WINDOW, *a.shape[2:])
    side -= 1 - side % 2
    offsets = torch.arange(side, device=a.device, dtype=a.dtype) - side // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = line / line.sum()
    channels = a.shape[1]
    column = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, column, groups=channels), row, groups=channels)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a.square(), blur(b * b) - mean_b.square()
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    contrast = (2 * covariance + C2) / (var_a.clamp(min=0) + var_b.clamp(min=0) + C2)
    return luminance, contrast
