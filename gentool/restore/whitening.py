"""Coordinates u in which the prior is a standard normal, whatever it is in z.

Elliptical slice sampling needs that prior, and HMC likes it:

    Gaussian     z = u
    uniform box  z = low + (high − low) Φ(u), coordinate by coordinate
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.latent.prior import draw, measure
from gentool.model import Model

DRAWS = 4096
EDGE = 1e-6


@dataclass(frozen=True)
class Whitening:
    """z ↔ u for latents of one shape; `low` and `high` are None for a standard normal prior."""

    latent_shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None

    @property
    def size(self) -> int:
        return torch.Size(self.latent_shape).numel()

    @property
    def standard(self) -> bool:
        """Whether u is z."""
        return self.low is None

    def to_z(self, u: Tensor) -> Tensor:
        """(M, D) → (M, *latent_shape); differentiable."""
        if self.low is not None and self.high is not None:
            u = self.low + (self.high - self.low) * torch.special.ndtr(u)
        return u.view(-1, *self.latent_shape)

    def to_u(self, z: Tensor) -> Tensor:
        """(M, *latent_shape) → (M, D); z at the box's side is drawn a little inwards."""
        u = z.flatten(1)
        if self.low is not None and self.high is not None:
            share = (u - self.low) / (self.high - self.low)
            u = torch.special.ndtri(share.clamp(EDGE, 1 - EDGE))
        return u


def whitening_of(model: Model) -> Whitening:
    """Measured on draws of the prior; raises UserError for one that is neither shape."""
    shape, prior = tuple(model.latent_shape), measure(model)
    if prior.kind == "uniform":
        # The ends are those of the draws; priors in use end at whole or half numbers.
        low, high = (round(2 * end, 1) / 2 for end in (prior.low, prior.high))
        return Whitening(shape, low, high)
    z = draw(model, DRAWS).flatten(1).double().cpu()
    if abs(z.mean().item()) > 0.1 or abs(z.std().item() - 1) > 0.1:
        raise UserError(
            "the model's prior is neither a standard normal nor a uniform box, and p(z|y) is drawn "
            "for these; use --method map"
        )
    return Whitening(shape)
