"""From what was seen to restorations: several honest answers, their mean, and how far they differ.

>>> found = restore(model, measure(x, operator), samples=8)
>>> found.samples, found.mean, found.std
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.errors import UserError
from gentool.latent.invert import Descent
from gentool.model import Model
from gentool.restore.maximum import PLAN, maximise
from gentool.restore.measurement import Measurement
from gentool.restore.posterior import CONVERGED, SAMPLERS, Draws, Schedule, draw_posterior
from gentool.restore.posterior import SamplerName as SamplerName
from gentool.restore.start import start
from gentool.restore.target import Target
from gentool.sampling import draw_samples

Method = Literal["posterior", "map"]

AVERAGED = 200
"""Draws an image, at most, that its mean and deviation are taken over."""


@dataclass(frozen=True)
class Restoration:
    """What became of N images; all on the CPU, images in [0, 1].

    Attributes:
        measurement: what was seen.
        preview: (N, *shape), that as people look at it.
        samples: (N, S, *shape), restorations; of method "map" the most likely one alone.
        mean, std: (N, *shape), over up to 200 draws of p(z|y), value by value. Method "map" has no
            deviation: it is 0.
        z: (N, S, *latent_shape) of `samples`.
        labels: int64 (N, S) for a class-conditional model, else None.
        exact: whether p(y|z) was the decoder's own; else it was Gaussian with deviation `noise`.
        noise: that deviation.
        sampler: "hmc", "slice" or "gibbs"; empty for method "map".
        draws: all draws and what they are worth; None for method "map".
        notes: sentences for a person.
    """

    measurement: Measurement
    preview: Tensor
    samples: Tensor
    mean: Tensor
    std: Tensor
    z: Tensor
    labels: Tensor | None
    exact: bool
    noise: float
    sampler: str
    draws: Draws | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.mean)


def restore(
    model: Model,
    measurement: Measurement,
    *,
    samples: int = 8,
    method: Method = "posterior",
    sampler: SamplerName = "auto",
    schedule: Schedule | None = None,
    descent: Descent = PLAN,
    labels: Tensor | None = None,
    progress: Progress = lambda what, done, total: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, Callable[[], Tensor]], None] = lambda step, images: None,
) -> Restoration:
    """Restore the images of a measurement.

    Args:
        model: in eval mode.
        samples: restorations an image, taken evenly from all chains.
        method: "posterior", draws of p(z|y); "map", the most likely z.
        sampler: "hmc", "slice", "gibbs"; "auto" is hmc.
        schedule: how long chains run.
        descent: how the most likely z is searched for.
        labels: int64 (N,) for a class-conditional model; None leaves the class open: chains and
            restarts share the classes out.
        stop: asked after every step of the chains; True ends them with what there is.
        watch: told after every step of the chains; what it is given draws the first image as its
            chains have it now, (C, *shape).

    Raises:
        UserError: where the model or the measurement does not allow what is asked.
    """
    check(model, measurement)
    target = Target(model, measurement)
    if method == "map":
        found = maximise(target, descent, labels=labels, progress=progress)
        best, rows = found.best, torch.arange(len(measurement))
        z = found.z[rows, best][:, None]
        chosen = None if found.labels is None else found.labels[rows, best][:, None]
        return _decoded(target, z, chosen, z, chosen, "", None, ())
    schedule = schedule or Schedule()
    seed, chains = schedule.seed, schedule.chains
    name = "hmc" if sampler == "auto" else sampler
    kernel = SAMPLERS[name](target, chains)
    begin = start(target, chains, labels=labels, seed=seed, progress=progress)

    def seen(step: int, u: Tensor, now: Tensor | None) -> None:
        own = None if now is None else now[:chains]
        watch(step, lambda: _images(target, target.whitening.to_z(u[:chains]), own, 0))

    draws = draw_posterior(
        target,
        kernel,
        begin.u,
        schedule,
        labels=begin.labels,
        progress=progress,
        stop=stop,
        watch=seen,
    )
    shown, averaged = _evenly(draws, samples), _evenly(draws, AVERAGED)
    notes = _notes(target, draws, schedule, sampler)
    return _decoded(target, *shown, *averaged, name, draws, notes)


def check(model: Model, measurement: Measurement) -> None:
    """Raise UserError where the operator is for images of another shape."""
    wanted, found = tuple(model.data.shape), tuple(measurement.operator.shape)
    if wanted != found:
        raise UserError(
            f"the operator is for {found}, but the model makes {model.data.kind} of shape {wanted}"
        )


def _evenly(draws: Draws, count: int) -> tuple[Tensor, Tensor | None]:
    """About `count` draws an image, as many of each chain as of the others, evenly spread.

    Returns:
        z (N, count, *latent_shape) and the labels (N, count) or None.
    """
    _, chains, steps = draws.z.shape[:3]
    count = min(count, chains * steps)
    each = -(-count // chains)
    at = torch.linspace(steps - 1, 0, each).round().long().flip(0)
    z = draws.z[:, :, at].transpose(1, 2).flatten(1, 2)[:, -count:]
    if draws.labels is None:
        return z, None
    return z, draws.labels[:, :, at].transpose(1, 2).flatten(1, 2)[:, -count:]


def _decoded(
    target: Target,
    z: Tensor,
    labels: Tensor | None,
    every_z: Tensor,
    every_label: Tensor | None,
    sampler: str,
    draws: Draws | None,
    notes: tuple[str, ...],
) -> Restoration:
    measurement = target.measurement
    means, deviations, shown = [], [], []
    for i in range(len(z)):  # one image at a time: all draws of all images may not fit in memory
        x = _images(target, every_z[i], None if every_label is None else every_label[i], i)
        means.append(x.mean(0))
        deviations.append(x.std(0, correction=0))
        shown.append(_images(target, z[i], None if labels is None else labels[i], i))
    return Restoration(
        measurement,
        measurement.operator.preview(measurement.y.cpu()),
        torch.stack(shown),
        torch.stack(means),
        torch.stack(deviations),
        z,
        labels,
        target.exact,
        target.noise,
        sampler,
        draws,
        notes,
    )


def _images(target: Target, z: Tensor, labels: Tensor | None, row: int) -> Tensor:
    """E[x|z] of latents (S, *latent_shape) for one image, with the values that were seen put back
    where they are known without noise: (S, *shape)."""
    x = draw_samples(target.model, len(z), target.device, z=z, labels=labels).clone()
    operator, measurement = target.operator, target.measurement
    if operator.chooses and measurement.noise is None:
        x = torch.where(operator.measured.cpu(), measurement.y[row].cpu(), x)
    return x


def _notes(
    target: Target, draws: Draws, schedule: Schedule, sampler: SamplerName
) -> tuple[str, ...]:
    """What a person should know before believing the draws."""
    notes = []
    if target.measurement.says_nothing:
        notes.append("nothing was measured, so these are draws of the prior")
    if not draws.complete:
        notes.append("stopped early, so these are the draws that there are")
    far = int((~draws.converged).sum())
    if far:
        worst = draws.rhat.nan_to_num(float("inf")).max().item()
        more = f"--draws {4 * schedule.draws} --warmup {4 * schedule.warmup}"
        other = "" if sampler in ("auto", "hmc") else " and --sampler hmc"
        notes.append(
            f"{far} of {len(draws.rhat)} images have chains that do not agree yet (R-hat up to "
            f"{worst:.2f}, more than {CONVERGED}): their draws are not the posterior yet; go on "
            f"with {more}{other}"
        )
    return tuple(notes)
