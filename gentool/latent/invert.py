"""Inversion: the z whose sample is nearest to what is wanted, by gradient descent on z.

    z* = argmin_z  d(G(z)) + λ‖z‖²,      d(x̂) = ‖x̂ − x‖² for a reconstruction

by Adam from several starting points, of which the best is kept (Bora et al. 2017,
arXiv:1703.03208, section 6). They start at draws of p(z), of a pool of which the nearest to each
image are taken: a sample costs a fraction of a step, and all images share the pool. `d` is any
function of the sample, so that a measurement y = A x is inverted by the same code. All images and
restarts move in one batch; each row has its own Adam state and stops on its own, so that a row's
result does not depend on which others are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.latent.prior import Prior, check_told, device_of, draw, measure
from gentool.model import Model

Distance = Callable[[Tensor, Tensor], Tensor]
"""distance(x̂, rows) → (M,): how far samples x̂ (M, *shape) are from what is wanted of the images
`rows`, int64 (M,); differentiable in x̂."""

ROWS = {"cpu": 640, "cuda": 8192}
"""Rows, images times restarts, that move at a time."""

BETAS, EPS = (0.9, 0.999), 1e-8
LOOK_EVERY = 10
"""Steps between looks at which rows may stop."""


@dataclass(frozen=True)
class Descent:
    """How z is searched for.

    Attributes:
        steps: of Adam, at most.
        restarts: starting points an image: the given one, where there is one, then draws of p(z).
        pool: draws from which an image's starting points are chosen by their distance; as few as
            `restarts` takes the draws as they come.
        lr: Adam's learning rate at first; it falls to 5 % of it along a cosine.
        prior_weight: λ, against a squared error that is a sum over values in [0, 1].
        patience: a row stops after so many steps in which its objective fell by less than
            `least`, relatively.
        enough: a distance at which a row, and its image, is done.
        seed: of the starting points.
    """

    steps: int = 500
    restarts: int = 10
    pool: int = 1024
    lr: float = 0.05
    prior_weight: float = 0.0
    patience: int = 100
    least: float = 1e-3
    enough: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Inverted:
    """What was found, on the CPU.

    Attributes:
        z: float32 (N, *latent_shape), of each image the restart of least distance.
        labels: int64 (N,) for a class-conditional model, else None.
        distance: float32 (N,) of `z`.
        every: float32 (N, R), the distance that each restart reached.
        steps: int64 (N, R), the steps that each restart took.
    """

    z: Tensor
    labels: Tensor | None
    distance: Tensor
    every: Tensor
    steps: Tensor


def squared_error(target: Tensor) -> Distance:
    """d(x̂) = ‖x̂ − x‖², summed over values; `target` is (N, *shape)."""

    def distance(x: Tensor, rows: Tensor) -> Tensor:
        return (x - target[rows]).square().flatten(1).sum(1)

    return distance


def invert(
    model: Model,
    distance: Distance,
    n: int,
    descent: Descent | None = None,
    *,
    start: Tensor | None = None,
    labels: Tensor | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Inverted:
    """Search the latents of n images.

    Args:
        model: in eval mode; its weights are not touched.
        distance: what is wanted; called with rows 0 … n−1.
        descent: how to search; None for the defaults.
        start: (n, *latent_shape), e.g. an encoder's answer: the first restart begins there.
        labels: int64 (n,) for a class-conditional model; None searches them too: the classes
            take turns in the pool, and with few draws there are as many restarts as classes.
    """
    check_told(model, labels)
    descent = descent or Descent()
    search = bool(model.classes) and labels is None
    restarts = max(descent.restarts, model.classes if search else 1, 1)
    device, prior = device_of(model), measure(model)
    images = max(1, ROWS.get(device.type, ROWS["cuda"]) // restarts)
    parts, total = [], n * restarts * descent.steps
    with frozen(model):
        for first in range(0, n, images):
            rows = torch.arange(first, min(n, first + images), device=device)
            where, classes = starting_points(model, distance, rows, restarts, descent, labels)
            if start is not None:
                where[::restarts] = start.to(device)[rows]
            swarm = Swarm(model, rows, where, classes, descent, prior)

            def report(done: int, before: int = first * restarts * descent.steps) -> None:
                progress("searching latents", before + done, total)

            parts.append(swarm.descend(distance, report))
    progress("searching latents", total, total)
    z, chosen, reached, every, steps = (torch.cat(column) for column in zip(*parts, strict=True))
    return Inverted(z, chosen if model.classes else None, reached, every, steps)


def starting_points(
    model: Model,
    distance: Distance,
    images: Tensor,
    restarts: int,
    descent: Descent,
    labels: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """For each image the `restarts` nearest of the pool, or draws as they come.

    Returns:
        z (n·restarts, *latent_shape) and, for a class-conditional model, int64 (n·restarts,).
    """
    n, device = len(images), images.device
    if descent.pool <= restarts:
        # They belong to an image and a restart, whatever is searched beside them.
        z = draw(model, n * restarts, descent.seed, int(images[0]) * restarts).clone()
        if not model.classes:
            return z, None
        if labels is None:
            return z, torch.arange(n * restarts, device=device) % restarts % model.classes
        return z, labels.to(device)[images].repeat_interleave(restarts)
    pool = draw(model, descent.pool, descent.seed)
    turns = torch.arange(len(pool), device=device) % max(1, model.classes)
    chosen = torch.empty(n, restarts, dtype=torch.int64, device=device)
    given = None if labels is None or not model.classes else labels.to(device)[images]
    groups: list[tuple[Tensor, Tensor]] = [(torch.arange(n, device=device), turns)]
    if given is not None:  # the pool under each class that is asked for
        groups = [
            (given.eq(kind).nonzero().flatten(), torch.full_like(turns, kind))
            for kind in given.unique().tolist()
        ]
    for mine, classes in groups:
        x = _sampled(model, pool, classes if model.classes else None)
        for i in mine.tolist():
            with torch.no_grad():
                d = distance(x, images[i].expand(len(x))).float().nan_to_num(math.inf, math.inf)
            chosen[i] = d.topk(restarts, largest=False).indices
    flat = chosen.flatten()
    if not model.classes:
        return pool[flat], None
    return pool[flat], turns[flat] if given is None else given.repeat_interleave(restarts)


@torch.no_grad()
def _sampled(model: Model, z: Tensor, labels: Tensor | None) -> Tensor:
    parts = [
        model.sample(z[i : i + 256], None if labels is None else labels[i : i + 256])
        for i in range(0, len(z), 256)
    ]
    return torch.cat(parts)


class Swarm:
    """Images times restarts on their way down; rows that have stopped leave the batch."""

    def __init__(
        self,
        model: Model,
        images: Tensor,
        z: Tensor,
        label: Tensor | None,
        descent: Descent,
        prior: Prior,
    ) -> None:
        """
        Args:
            images: int64 (n,), which of all images these are.
            z, label: where they start and their classes, restart after restart of each image.
        """
        self.model, self.descent, self.prior = model, descent, prior
        self.restarts, device = len(z) // len(images), images.device
        self.image, self.label = images.repeat_interleave(self.restarts), label
        self.z, self.m, self.v = z, torch.zeros_like(z), torch.zeros_like(z)
        self.row = torch.arange(len(z), device=device)  # where the batch's rows belong
        self.lowest = torch.full((len(z),), math.inf, device=device)  # of the objective, so far
        self.mark = self.lowest.clone()  # the objective when it last fell by enough
        self.moved = torch.zeros(len(z), dtype=torch.int64, device=device)  # and the step then
        self.best, self.reached = z.clone(), self.lowest.clone()
        self.steps = torch.zeros_like(self.moved)
        self.found = (self.best.clone(), self.reached.clone(), self.steps.clone())

    def descend(
        self, distance: Distance, report: Callable[[int], None]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Move until every row has stopped; z, labels, distance, and those of each restart."""
        size, asked = len(self.z), self.descent.steps
        all_labels = self.label
        for step in range(asked + 1):
            self.look(distance, step)
            if step % LOOK_EVERY == 0 or step == asked:
                self.leave(self.stopped(step) if step < asked else torch.ones_like(self.row) > 0)
                report(step * len(self.row) + asked * (size - len(self.row)))
            if not len(self.row):
                break
        best, reached, steps = self.found
        by_image = reached.view(-1, self.restarts)
        at = by_image.argmin(1) + torch.arange(len(by_image), device=best.device) * self.restarts
        labels = torch.zeros_like(at) if all_labels is None else all_labels[at]
        found = best[at], labels, reached[at], by_image, steps.view_as(by_image)
        return found[0].cpu(), labels.cpu(), found[2].cpu(), found[3].cpu(), found[4].cpu()

    def look(self, distance: Distance, step: int) -> None:
        """Measure where the rows are, remember the best, and take one step of Adam."""
        z = self.z.requires_grad_()
        x = self.model.sample(z, self.label)
        d = distance(x, self.image).float()
        objective = d + self.descent.prior_weight * z.flatten(1).square().sum(1)
        (gradient,) = torch.autograd.grad(objective.sum(), z)
        with torch.no_grad():
            d, objective, z = d.detach(), objective.detach(), z.detach()
            better = objective < self.lowest  # never where it is NaN
            self.lowest = torch.where(better, objective, self.lowest)
            self.reached = torch.where(better, d, self.reached)
            shape = (-1, *[1] * (z.dim() - 1))
            self.best = torch.where(better.view(shape), z, self.best)
            fell = self.lowest < self.mark * (1 - self.descent.least)
            fell |= self.lowest.isfinite() & self.mark.isinf()
            self.mark = torch.where(fell, self.lowest, self.mark)
            self.moved = torch.where(fell, step, self.moved)
            self.steps.fill_(step)
            self.z = self.step(z, gradient.nan_to_num(0.0, 0.0, 0.0), step)

    def step(self, z: Tensor, gradient: Tensor, step: int) -> Tensor:
        """Adam (Kingma & Ba 2015, algorithm 1), then back into the prior's box."""
        b1, b2 = BETAS
        self.m.lerp_(gradient, 1 - b1)
        self.v.lerp_(gradient.square(), 1 - b2)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.descent.steps))))
        rate = self.descent.lr * (0.05 + 0.95 * cosine)
        m, v = self.m / (1 - b1 ** (step + 1)), self.v / (1 - b2 ** (step + 1))
        return (z - rate * m / (v.sqrt() + EPS)).clamp(self.prior.low, self.prior.high)

    def stopped(self, step: int) -> Tensor:
        """Rows that no longer move, and rows of images that are done."""
        done = self.reached <= self.descent.enough
        if done.any():
            done = torch.isin(self.image, self.image[done])
        return done | (step - self.moved >= self.descent.patience)

    def leave(self, gone: Tensor) -> None:
        """Write down the rows that stop, and take them out of the batch."""
        if not gone.any():
            return
        rows = self.row[gone]
        for kept, now in zip(self.found, (self.best, self.reached, self.steps), strict=True):
            kept[rows] = now[gone]
        stay = ~gone
        for name in ("z", "m", "v", "row", "image", "lowest", "mark", "moved", "best", "reached"):
            setattr(self, name, getattr(self, name)[stay])
        self.steps = self.steps[stay]
        if self.label is not None:
            self.label = self.label[stay]


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Gradients on, but none for the weights, which halves the work of a step."""
    learning = [p for p in model.parameters() if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for p in learning:
            p.requires_grad_(True)
