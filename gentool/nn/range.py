"""Between the range of the data and one that networks work well in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Range(nn.Module):
    """x = centre + scale·u: between the data's range and one that networks work well in.

    Images in [0, 1] are u = 2x − 1 in [−1, 1], the range of tanh. Points are centred and divided
    by one scalar, the root mean square of their coordinates about the centre, so that Euclidean
    distances keep their proportions; `fit` measures both.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, kind: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        images = kind == "image"
        self.register_buffer("centre", torch.tensor(0.5) if images else torch.zeros(shape))
        self.register_buffer("scale", torch.tensor(0.5 if images else 1.0))

    @torch.no_grad()
    def fit(self, points: Tensor) -> None:
        """Measure centre and scale on points (N, D)."""
        self.centre.copy_(points.mean(0))
        spread = (points - points.mean(0)).square().mean().sqrt()
        self.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def inward(self, x: Tensor) -> Tensor:
        """u = (x − centre) / scale."""
        return (x - self.centre) / self.scale

    def outward(self, u: Tensor) -> Tensor:
        """x = centre + scale·u."""
        return self.centre + self.scale * u
