"""The most likely latent: argmax_z p(y|z) p(z), by inversion with A in the loss.

Bora et al. 2017, arXiv:1703.03208, equation 3, minimise ‖y − A G(z)‖² + λ‖z‖²; with λ = σ² that is
the maximum of a posterior with noise σ and a standard normal prior. The search is that of
`gentool.latent.invert`: Adam from many starts, all in one batch.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.latent.invert import Descent, Distance, invert
from gentool.model import Model
from gentool.noise import Noise
from gentool.restore.target import Target

PLAN = Descent(steps=500, restarts=10, lr=0.05, least=1e-4)


@dataclass(frozen=True)
class Maxima:
    """What each restart reached, on the CPU.

    Attributes:
        z: float32 (N, R, *latent_shape).
        labels: int64 (N, R) for a class-conditional model, else None.
        log_posterior: (N, R), log p(y|z) + log p(z) without the latter's constant.
    """

    z: Tensor
    labels: Tensor | None
    log_posterior: Tensor

    @property
    def best(self) -> Tensor:
        """int64 (N,): the restart of the most likely latent."""
        return self.log_posterior.argmax(1)


def maximise(
    target: Target,
    plan: Descent = PLAN,
    *,
    labels: Tensor | None = None,
    start: Tensor | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Maxima:
    """Search the most likely latents of every image from `plan.restarts` starts.

    Args:
        plan: its `prior_weight` and `enough` are not looked at: they follow from the posterior.
        labels: int64 (N,) for a class-conditional model; None searches them, a class a restart.
        start: (N, R, *latent_shape), where the restarts begin; None: at draws of p(z).
    """
    n, model = len(target), target.model
    restarts = max(plan.restarts, model.classes if labels is None else 1)
    # Every restart is an "image" of its own, so that all of them come back.
    plan = dataclasses.replace(
        plan,
        restarts=1,
        prior_weight=0.5 if target.whitening.standard else 0.0,  # −log p(z); a box is flat
        enough=-math.inf,
    )
    if hasattr(plan, "pool"):
        plan = dataclasses.replace(plan, pool=1)
    chosen = None
    if model.classes:
        turns = torch.arange(n * restarts) % restarts % model.classes
        chosen = turns if labels is None else labels.cpu().repeat_interleave(restarts)
    found = invert(
        LatentAndLabel(model) if target.exact else model,
        _by_latent(target, restarts) if target.exact else _by_sample(target, restarts),
        n * restarts,
        plan,
        start=None if start is None else start.flatten(0, 1),
        labels=chosen,
        progress=progress,
    )
    rows = torch.arange(n, device=target.device).repeat_interleave(restarts)
    z = found.z.to(target.device)
    with torch.no_grad():
        kept = None if chosen is None else chosen.to(target.device)
        value = target.log_likelihood(target.whitening.to_u(z), rows, kept)
    if target.whitening.standard:
        value = value - 0.5 * z.flatten(1).square().sum(1)
    return Maxima(
        found.z.unflatten(0, (n, restarts)),
        None if chosen is None else chosen.view(n, restarts),
        value.cpu().view(n, restarts),
    )


def _by_sample(target: Target, restarts: int) -> Distance:
    """‖y − A x‖² / 2σ² of decoded images."""

    def distance(x: Tensor, rows: Tensor) -> Tensor:
        difference = target.seen[rows // restarts] - target.operator(x)
        difference = torch.where(target.measured, difference, 0)
        return 0.5 * difference.square().flatten(1).sum(1) / target.noise**2

    return distance


def _by_latent(target: Target, restarts: int) -> Distance:
    """−log p(y|z), which is no function of the decoded mean alone."""

    def distance(joined: Tensor, rows: Tensor) -> Tensor:
        z, labels = joined[:, :-1], joined[:, -1].long()
        u = target.whitening.to_u(z)
        return -target.log_likelihood(u, rows // restarts, labels if target.model.classes else None)

    return distance


class LatentAndLabel(Model):
    """Stands in for a model where the search needs z itself: its "sample" is z with its label."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.data = model, model.data
        self.latent_shape, self.classes = model.latent_shape, model.classes

    def prior(self, n: int, noise: Noise) -> Tensor:
        return self.model.prior(n, noise)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        label = z.new_zeros(len(z)) if labels is None else labels.to(z)
        return torch.cat([z.flatten(1), label[:, None]], 1)
