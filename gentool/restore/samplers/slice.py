"""Elliptical slice sampling (Murray, Adams & MacKay 2010, arXiv:1001.0175, figure 2).

    ν ~ N(0, I),  log y = log L(u) + log U(0, 1),  u' = u cos θ + ν sin θ

θ is drawn from a bracket of a whole turn, which shrinks towards 0 until log L(u') > log y. There is
nothing to tune, and no gradient is needed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gentool.noise import Noise
from gentool.restore.samplers.base import Chains, Kernel

MOST_SHRINKS = 100
"""The bracket is then narrower than any two floats; the chain stays where it is."""


class EllipticalSlice(Kernel):
    """Every chain on an ellipse of its own; those that have arrived leave the batch."""

    name = "slice"

    def step(self, state: Chains, noise: Noise) -> Tensor:
        u, m = state.u, len(state.u)
        direction = noise.normal("ellipse", tuple(u.shape)).to(u.dtype)
        level = state.value + torch.log(noise.uniform("level", (m,)).clamp(min=1e-38))
        theta = noise.uniform("angle", (m,)).to(u.dtype) * 2 * math.pi
        low, high = theta - 2 * math.pi, theta.clone()
        tries = torch.zeros(m, device=u.device)
        found, value = u.clone(), state.value.clone()
        left = torch.arange(m, device=u.device)
        for shrink in range(MOST_SHRINKS):
            angle = theta[left, None]
            proposed = u[left] * torch.cos(angle) + direction[left] * torch.sin(angle)
            labels = None if state.labels is None else state.labels[left]
            reached = self.target.log_likelihood(proposed, state.rows[left], labels)
            tries[left] += 1
            inside = reached > level[left]
            found[left[inside]], value[left[inside]] = proposed[inside], reached[inside]
            left = left[~inside]
            if not len(left):
                break
            now = theta[left]
            low[left] = torch.where(now < 0, now, low[left])
            high[left] = torch.where(now < 0, high[left], now)
            fresh = noise.uniform(f"shrink{shrink}", (m,)).to(u.dtype)[left]
            theta[left] = low[left] + (high[left] - low[left]) * fresh
        state.u, state.value, state.gradient = found, value, None
        return 1 / tries  # the share of points looked at that were taken
