"""Draws of p(z|y): chains of all images in one batch, from their start to what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.noise import Noise
from gentool.restore.diagnostics import bulk_effective, rhat
from gentool.restore.samplers.base import Chains, Kernel
from gentool.restore.samplers.gibbs import MetropolisWithinGibbs
from gentool.restore.samplers.hmc import Hamiltonian
from gentool.restore.samplers.slice import EllipticalSlice
from gentool.restore.target import Target

SamplerName = Literal["auto", "hmc", "slice", "gibbs"]
SAMPLERS: dict[str, Callable[[Target, int], Kernel]] = {
    "hmc": Hamiltonian,
    "slice": EllipticalSlice,
    "gibbs": MetropolisWithinGibbs,
}

CONVERGED = 1.05
"""R̂ above this says that the chains do not agree yet."""


@dataclass(frozen=True)
class Schedule:
    """How long chains run.

    Attributes:
        chains: C, of each image; at least 2 for R̂ to mean something.
        warmup: steps in which kernels are tuned, and which are forgotten.
        draws: S, kept of each chain.
        thin: steps from one draw that is kept to the next.
        seed: of everything random.
    """

    chains: int = 4
    warmup: int = 300
    draws: int = 250
    thin: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Draws:
    """Draws of p(z|y), and what they are worth; all on the CPU.

    Attributes:
        z: float32 (N, C, S, *latent_shape).
        labels: int64 (N, C, S) for a class-conditional model, else None.
        value: (N, C, S), log p(y|z).
        rhat: (N,), the largest split R̂ over the latents and log p(y|z); NaN for too few draws.
        effective: (N,), the smallest bulk effective sample size over the same.
        acceptance: (N,), the mean acceptance probability after the warm-up.
        complete: whether the chains ran to their end.
        decoded: latents that were decoded, in all.
    """

    z: Tensor
    labels: Tensor | None
    value: Tensor
    rhat: Tensor
    effective: Tensor
    acceptance: Tensor
    complete: bool
    decoded: int

    @property
    def converged(self) -> Tensor:
        """bool (N,): R̂ ≤ 1.05."""
        return self.rhat <= CONVERGED


def draw_posterior(
    target: Target,
    kernel: Kernel,
    start: Tensor,
    schedule: Schedule,
    *,
    labels: Tensor | None = None,
    progress: Progress = lambda what, done, total: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, Tensor, Tensor | None], None] = lambda step, u, labels: None,
) -> Draws:
    """Run the chains.

    Args:
        start: (N·C, D) in whitened coordinates, the chains of an image beside each other.
        labels: int64 (N·C,) for a class-conditional model: each chain keeps its own.
        stop: asked after every step; True ends the chains with what there is.
        watch: shown after every step where the chains are, (N·C, D) in whitened coordinates, and
            their labels; not to be kept or changed.
    """
    n, c = len(target), schedule.chains
    rows = torch.arange(n, device=target.device).repeat_interleave(c)
    u = start.to(target.device, torch.float32)
    labels = None if labels is None else labels.to(target.device)
    with torch.no_grad():
        state = Chains(u, target.log_likelihood(u, rows, labels), rows, labels)
        total = schedule.warmup + schedule.draws * schedule.thin
        kept: list[Tensor] = []
        values: list[Tensor] = []
        accepted, counted = torch.zeros(n, dtype=torch.float64), 0
        ended = False
        for step in range(total):
            accept = kernel.step(state, _noise(schedule.seed, step, target.device))
            if step < schedule.warmup:
                kernel.adapt(state, accept, step, schedule.warmup)
            else:
                accepted += kernel.by_image(accept).double().cpu()
                counted += 1
                if counted % schedule.thin == 0:
                    kept.append(state.u.cpu().clone())
                    values.append(state.value.cpu().clone())
            progress("drawing chains", step + 1, total)
            watch(step + 1, state.u, state.labels)
            if stop() and step + 1 < total:
                ended = True
                break
        if not kept:  # stopped in the warm-up: where the chains are is better than nothing
            kept, values = [state.u.cpu().clone()], [state.value.cpu().clone()]
    mean = accepted / max(1, counted)
    kept_u, kept_values = torch.stack(kept, 1), torch.stack(values, 1)
    return _summed_up(target, kept_u, kept_values, state.labels, mean, c, not ended)


def _noise(seed: int, step: int, device: torch.device) -> Noise:
    return Noise(seed, "restore", torch.tensor(step, device=device), device)


def _summed_up(
    target: Target,
    u: Tensor,
    value: Tensor,
    labels: Tensor | None,
    acceptance: Tensor,
    chains: int,
    complete: bool,
) -> Draws:
    """u: (N·C, S, D); value: (N·C, S)."""
    m, s, d = u.shape
    n = m // chains
    z = target.whitening.to_z(u.reshape(m * s, d)).unflatten(0, (n, chains, s))
    pairs = zip(u.view(n, chains, s, d), value.view(n, chains, s), strict=True)
    found = [worth(latents, values) for latents, values in pairs]
    chosen = None if labels is None else labels.cpu().view(n, chains, 1).expand(n, chains, s)
    return Draws(
        z,
        chosen,
        value.view(n, chains, s),
        torch.tensor([r for r, _ in found]),
        torch.tensor([e for _, e in found]),
        acceptance,
        complete,
        target.decoded,
    )


def worth(u: Tensor, value: Tensor) -> tuple[float, float]:
    """The largest R̂ and the least effective sample size of u (C, S, D) and log p(y|z) (C, S)."""
    every = torch.cat([u.permute(2, 0, 1).double(), value[None].double()])
    return rhat(every).max().item(), bulk_effective(every).min().item()
