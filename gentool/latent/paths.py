"""Walks from one latent to the next.

Under a Gaussian prior in many dimensions the straight line between two draws passes through a
region that p(z) hardly ever visits: ‖z‖ is near √D for both ends and near √(D/2) halfway. The
great circle stays in the shell (White 2016, arXiv:1609.04468; Shoemake 1985):

    slerp(a, b; t) = sin((1 − t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b,      cos Ω = ⟨a, b⟩/(‖a‖‖b‖)

A uniform prior fills its box, which holds every straight line between two of its points.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gentool.latent.prior import Prior

Kind = Literal["auto", "slerp", "linear"]

PARALLEL = 1e-6
"""An angle in radians below which a great circle is a line."""


def kind_for(prior: Prior) -> Literal["slerp", "linear"]:
    """Great circles for Gaussian priors, lines for uniform ones."""
    return "linear" if prior.kind == "uniform" else "slerp"


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The points (1 − t)·a + t·b of a line, (T, *shape), from a, b (*shape) and t (T,)."""
    along: Tensor = torch.lerp(a, b, t.view(-1, *[1] * a.dim()).to(a.dtype))
    return along


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The points of the great circle from a to b, (T, *shape), from a, b (*shape) and t (T,).

    Between opposite points any great circle is as short; a fixed one is taken. Where an end is 0
    or both point the same way, it is the line.
    """
    p, q, s = a.double().flatten(), b.double().flatten(), t.double()
    lengths = p.norm() * q.norm()
    if lengths == 0:
        return linear(a, b, t)
    u, v = p / p.norm(), q / q.norm()
    # Exact for small angles and near π, where acos of the product is not (Kahan).
    omega = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    if omega < PARALLEL:
        return linear(a, b, t)
    if math.pi - omega < PARALLEL:
        if len(p) == 1:
            return linear(a, b, t)
        # Through a quarter of the way round, perpendicular to both ends.
        axis = torch.zeros_like(u).index_fill_(0, u.abs().argmin(), 1.0)
        side = axis - (axis @ u) * u
        along, across = torch.cos(math.pi * s), torch.sin(math.pi * s)
        length = (1 - s) * p.norm() + s * q.norm()
        circle: Tensor = along[:, None] * u + across[:, None] * (side / side.norm())
        circle = length[:, None] * circle
        return circle.view(-1, *a.shape).to(a.dtype)
    weights = torch.stack([torch.sin((1 - s) * omega), torch.sin(s * omega)], 1) / omega.sin()
    path = weights @ torch.stack([p, q])
    return path.view(-1, *a.shape).to(a.dtype)


def walk(
    z: Tensor, steps: int, kind: Literal["slerp", "linear"], *, loop: bool = False
) -> tuple[Tensor, Tensor]:
    """A path through the points z (K, *shape), which it meets exactly.

    Args:
        steps: positions from one point to the next, both counted; at least 2.
        loop: go back to the first point, which is not repeated at the end.

    Returns:
        positions (M, *shape), M = (K − 1)(steps − 1) + 1, or K(steps − 1) for a loop; and int64
        (M,), the nearest point of each, whose label it has.
    """
    if steps < 2 or len(z) < 2:
        raise ValueError("a walk has at least two points and two steps")
    between = slerp if kind == "slerp" else linear
    t = torch.arange(steps - 1, device=z.device) / (steps - 1)
    ends = len(z) if loop else len(z) - 1
    parts, nearest = [], []
    for i in range(ends):
        j = (i + 1) % len(z)
        part = between(z[i], z[j], t)
        part[0] = z[i]
        parts.append(part)
        nearest.append(torch.where(t < 0.5, i, j))
    if not loop:
        parts.append(z[-1:])
        nearest.append(torch.tensor([len(z) - 1], device=z.device))
    return torch.cat(parts), torch.cat(nearest)
