"""A look at everything that a training will compute, on a copy of its model, before it begins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from gentool.model import Evaluates, Step
from gentool.noise import Noise
from gentool.sampling import CHUNK, draw_samples
from gentool.train.batches import BatchLoader
from gentool.train.loop import Trainer
from gentool.train.pictures import IMAGES
from gentool.train.player import autocast


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
