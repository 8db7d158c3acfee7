"""Where chains begin: different places, each of which fits what was seen.

For values that are missing, of a model with an encoder that is a distribution: pseudo-Gibbs from
random fillings (Rezende et al. 2014, arXiv:1401.4082, section 4), z ~ q(z|x), x_missing ~ p(x|z).
Everything else: maxima of the posterior from different draws of the prior.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.latent.invert import Descent
from gentool.latent.prior import draw
from gentool.model import Infers
from gentool.noise import Noise
from gentool.restore.maximum import maximise
from gentool.restore.target import Target

SWEEPS = 30
CLIMB = Descent(steps=150, restarts=4, lr=0.1, least=1e-3, patience=30)


@dataclass(frozen=True)
class Start:
    """Starting points: `u` (N·C, D), and `labels` int64 (N·C,) or None."""

    u: Tensor
    labels: Tensor | None


def start(
    target: Target,
    chains: int,
    *,
    labels: Tensor | None = None,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Start:
    """Starting points of every image's chains.

    Args:
        labels: int64 (N,) for a class-conditional model; None gives the chains of an image
            classes of their own.
    """
    model, n = target.model, len(target)
    spread = None
    if model.classes:
        turns = torch.arange(n * chains, device=target.device) % chains % model.classes
        spread = turns
        if labels is not None:
            spread = labels.to(target.device).repeat_interleave(chains)
    if target.measurement.says_nothing:
        z = draw(model, n * chains, seed)
        return Start(target.whitening.to_u(z), spread)
    if target.exact and isinstance(model, Infers):
        return Start(_pseudo_gibbs(target, chains, spread, seed), spread)
    plan = dataclasses.replace(CLIMB, restarts=chains, seed=seed)
    found = maximise(target, plan, labels=labels, progress=progress)
    count = found.z.shape[1]
    if count > chains:  # a restart for every class: the likelier ones
        best = found.log_posterior.topk(chains, 1).indices
        z = found.z[torch.arange(n)[:, None], best]
        spread = None if found.labels is None else found.labels.gather(1, best).flatten()
    else:
        z = found.z
    u = target.whitening.to_u(z.flatten(0, 1).to(target.device))
    return Start(u, None if spread is None else spread.to(target.device))


@torch.no_grad()
def _pseudo_gibbs(target: Target, chains: int, labels: Tensor | None, seed: int) -> Tensor:
    model, device = target.model, target.device
    assert isinstance(model, Infers)
    rows = torch.arange(len(target), device=device).repeat_interleave(chains)
    z = draw(model, len(rows), seed)
    for sweep in range(SWEEPS):
        noise = Noise(seed, "restore/start", torch.tensor(sweep, device=device), device)
        x = torch.where(target.measured, target.seen[rows], model.sample(z, labels, noise))
        mu, logvar = model.infer(x, labels)
        z = mu + torch.exp(0.5 * logvar) * noise.normal("z", tuple(mu.shape)).to(mu)
    return target.whitening.to_u(z)
