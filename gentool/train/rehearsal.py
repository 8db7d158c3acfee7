"""A look at everything that a training will compute, on a copy of its model, before it begins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gentool.model import Evaluates, Step
from gentool.noise import Noise
from gentool.sampling import CHUNK, draw_samples
from gentool.train.batches import BatchLoader
from gentool.train.loop import Trainer
from gentool.train.pictures import IMAGES
from gentool.train.player import autocast
from gentool.train.threads import StepThreads, ladder, proven


@contextmanager
def rehearsal(trainer: Trainer) -> Iterator[list[Callable[[], Any]]]:
    """Every objective, evaluation and sampling, on every number of rows that will come.

    The trainer, its model and torch's generators stay as they are.
    """
    device, precision = trainer.world.device, trainer.settings.precision
    model = copy.deepcopy(trainer.model)

    def objectives(rows: int) -> None:
        batch = trainer.loader.in_order(0, rows)
        model.train()
        for player in model.players():
            with autocast(device, precision):
                player.objective(batch, _step(trainer, player.name))

    def evaluation(loader: BatchLoader, rows: int) -> None:
        if isinstance(model, Evaluates):
            model.eval()
            with torch.no_grad(), autocast(device, precision):
                model.evaluate(loader.in_order(0, rows), _step(trainer, "test"))

    def samples(rows: int) -> None:
        labels = model.in_turn(rows)
        model.eval()
        draw_samples(model, rows, device, labels=labels)

    work: list[Callable[[], Any]] = [partial(objectives, n) for n in _training_rows(trainer)]
    if (loader := trainer.test_loader) is not None:
        share = trainer.world.share(loader.n)
        sizes = _sizes(share.stop - share.start, loader)
        work += [partial(evaluation, loader, n) for n in sizes]
    drawn = (IMAGES, CHUNK) if trainer.settings.sample_every else (CHUNK,)
    work += [partial(samples, n) for n in drawn]
    with torch.random.fork_rng(devices=[]):
        yield work


def updates(trainer: Trainer) -> Iterator[Callable[[], list[Tensor]]]:
    """What a training computes, in pieces that return it: losses, gradients, scalars, samples.

    Each call works on a fresh copy of the model, so that a piece gives the same every time.
    """

    def update(rows: int) -> list[Tensor]:
        model = copy.deepcopy(trainer.model).train()
        batch = trainer.loader.in_order(0, rows)
        found: list[Tensor] = []
        players = model.players()
        for player in players:
            mine = [p for p in player.module.parameters() if p.requires_grad]
            with autocast(trainer.world.device, trainer.settings.precision):
                objective = player.objective(batch, _step(trainer, player.name))
            grads = torch.autograd.grad(objective.loss, mine, allow_unused=True)
            found += [objective.loss, *objective.scalars.values()]
            found += (known := [g for g in grads if g is not None])
            found.append(nn.utils.get_total_norm(known, foreach=True))
            if player.after_step is not None:
                with torch.no_grad():
                    player.after_step()
        return [*found, *model.state_dict().values()]

    def evaluation(loader: BatchLoader, rows: int) -> list[Tensor]:
        model = copy.deepcopy(trainer.model).eval()
        if not isinstance(model, Evaluates):
            return []
        with torch.inference_mode(), autocast(trainer.world.device, trainer.settings.precision):
            return list(model.evaluate(loader.in_order(0, rows), _step(trainer, "test")).values())

    def samples(rows: int) -> list[Tensor]:
        model = copy.deepcopy(trainer.model).eval()
        return [draw_samples(model, rows, trainer.world.device, labels=model.in_turn(rows))]

    yield from (partial(update, n) for n in _training_rows(trainer))
    if (loader := trainer.test_loader) is not None:
        share = trainer.world.share(loader.n)
        yield from (
            partial(evaluation, loader, n) for n in _sizes(share.stop - share.start, loader)
        )
    yield from (partial(samples, n) for n in (IMAGES, CHUNK))


def step_threads(trainer: Trainer) -> StepThreads | None:
    """What moves between counts of threads while `trainer` trains; None where none may differ.

    ``--threads`` fixes the count, and so does ``--compile``, whose code is made for one.
    """
    settings, most = trainer.settings, torch.get_num_threads()
    if trainer.world.device.type != "cpu" or settings.threads is not None or settings.compile:
        return None
    counts = proven(ladder(most), updates(trainer))
    return StepThreads(counts, trainer.players[0].player.steps) if len(counts) > 1 else None


def _training_rows(trainer: Trainer) -> list[int]:
    """How many rows an objective is called with: a process's share of a batch, or parts of it."""
    loader, accumulate = trainer.loader, trainer.settings.accumulate
    found = set()
    for step in (0, loader.per_epoch - 1):  # only the last batch of an epoch may be smaller
        share, _ = loader.order.share(step)
        n = share.stop - share.start
        part = max(1, -(-n // accumulate))
        found |= {min(part, n), n % part}
    return sorted(found - {0}, reverse=True)


def _sizes(n: int, loader: BatchLoader) -> list[int]:
    """The sizes of the batches that n rows come in."""
    return sorted({min(n, loader.batch_size), n % loader.batch_size} - {0}, reverse=True)


def _step(trainer: Trainer, stream: str) -> Step:
    device = trainer.world.device
    zero = torch.zeros((), dtype=torch.int64, device=device)
    return Step(Noise(trainer.settings.seed, stream, zero, device), torch.zeros((), device=device))
