"""Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788).

Where z* ~ p(z), y ~ p(y|z*) and z_1 … z_L ~ p(z|y), the rank of f(z*) among the f(z_l) is uniform
on 0 … L for every f. A sampler that is wrong anywhere makes some ranks rarer than others. The
latents alone would let a sampler pass that forgets y and draws the prior; log p(y|z) as an f of its
own does not (Modrák et al. 2023, arXiv:2211.02383).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.model import Model
from gentool.noise import sampling_noise
from gentool.restore.measurement import Measurement
from gentool.restore.operators.base import Operator
from gentool.restore.posterior import Schedule, draw_posterior
from gentool.restore.samplers.base import Kernel
from gentool.restore.target import Target, is_exact

BINS = 20


@dataclass(frozen=True)
class Ranks:
    """Ranks of the truth among draws.

    Attributes:
        ranks: int64 (repetitions, F), each from 0 to `draws`.
        draws: L.
        names: of the F quantities.
    """

    ranks: Tensor
    draws: int
    names: tuple[str, ...]

    def histogram(self, bins: int = BINS) -> Tensor:
        """Counts in bins of as nearly equal width as L + 1 ranks allow: (F, bins)."""
        place = self.ranks * bins // (self.draws + 1)
        return torch.stack([torch.bincount(f, minlength=bins) for f in place.T])

    def p_values(self, bins: int = BINS) -> Tensor:
        """Of χ² tests that the ranks are uniform, float64 (F,)."""
        edges = torch.arange(self.draws + 1) * bins // (self.draws + 1)
        share = torch.bincount(edges, minlength=bins).double() / (self.draws + 1)
        expected = share * len(self.ranks)
        chi = ((self.histogram(bins) - expected).square() / expected).sum(1)
        half = torch.tensor((bins - 1) / 2, dtype=torch.float64)
        found: Tensor = torch.special.gammaincc(half.expand_as(chi), chi / 2)
        return found

    @property
    def p_value(self) -> float:
        """Of all quantities together: the least p-value, times their number (Bonferroni)."""
        return min(1.0, self.p_values().min().item() * len(self.names))


def simulated(
    model: Model, operator: Operator, noise: float | None, repetitions: int, seed: int = 0
) -> tuple[Tensor, Measurement]:
    """z* ~ p(z), (repetitions, *latent_shape), and y ~ p(y|z*)."""
    with torch.no_grad():
        z = model.prior(repetitions, sampling_noise(seed))
        drawing = sampling_noise(seed + 1)
        shaped = Measurement(operator, torch.zeros(1, *operator.out_shape), noise)
        if is_exact(model, shaped):
            y = operator(model.sample(z, None, drawing))
        else:
            sigma = Target(model, shaped).noise
            y = operator(model.sample(z))
            y = y + sigma * drawing.normal("y", tuple(y.shape)) * operator.measured
    return z, Measurement(operator, y, noise)


def calibrate(
    model: Model,
    operator: Operator,
    noise: float | None,
    make: Callable[[Target, int], Kernel],
    *,
    repetitions: int = 1000,
    draws: int = 99,
    thin: int = 10,
    warmup: int = 200,
    seed: int = 0,
) -> Ranks:
    """Ranks of the truth for one sampler and one operator.

    Every repetition is an image with one chain, which begins at a draw of the prior; all
    move in one batch. Draws that depend on each other bend the histogram towards its ends: choose
    `thin` so that they do not.
    """
    truth, measurement = simulated(model, operator, noise, repetitions, seed)
    target = Target(model, measurement)
    kernel = make(target, 1)
    with torch.no_grad():
        start = model.prior(repetitions, sampling_noise(seed + 2))
    schedule = Schedule(1, warmup, draws, thin, seed)
    u = target.whitening.to_u(start)
    found = draw_posterior(target, kernel, u, schedule)
    rows = torch.arange(repetitions)
    with torch.no_grad():
        value = target.log_likelihood(target.whitening.to_u(truth), rows)
    drawn = found.z[:, 0].flatten(2)
    latents = (drawn < truth.flatten(1)[:, None]).sum(1)
    likelihood = (found.value[:, 0] < value[:, None]).sum(1)
    names = [f"z{i}" for i in range(latents.shape[1])]
    ranks = torch.cat([latents, likelihood[:, None]], 1)
    return Ranks(ranks, draws, (*names, "log p(y|z)"))
