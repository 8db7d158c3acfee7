"""By which scalar the best model is kept: the lowest of the epochs, and the same on every process.

Its name is held to those that there are before the run exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gentool.data.dataset import Dataset
from gentool.errors import UserError, printable
from gentool.model import Evaluates, Model, Step
from gentool.noise import Noise
from gentool.spec import ModelSpec
from gentool.train.batches import BatchLoader
from gentool.train.distributed import World
from gentool.train.settings import TrainSettings
from gentool.train.watchdog import DISTANCES

LOOK = 8
"""Test examples that are enough to see which scalars there are."""


def require_scalar(settings: TrainSettings, model: Model, dataset: Dataset, world: World) -> None:
    """Refuse a ``--best`` that neither the test split nor the samples will have; raises UserError.

    Args:
        model: on the device; it stays as it is, and so do torch's generators.
    """
    if settings.best is None:
        return
    known = scalars(model, dataset, world)
    if settings.judge_samples:
        known.append(DISTANCES[dataset.spec.kind])
    if settings.best not in known:
        listed = ", ".join(known) or "none: this model or data has nothing to test"
        raise UserError(
            f"--best {printable(settings.best)} is no scalar of the test split; there are: {listed}"
        )


def scalars(model: Model, dataset: Dataset, world: World) -> list[str]:
    """The names that `model` evaluates on the test split; none where there is nothing to."""
    if not isinstance(model, Evaluates) or not len(dataset.test):
        return []
    batch = BatchLoader(dataset.test, LOOK, world.device).in_order(0, min(LOOK, len(dataset.test)))
    zero = torch.zeros((), dtype=torch.int64, device=world.device)
    step = Step(Noise(0, "test", zero, world.device), torch.zeros((), device=world.device))
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return list(model.evaluate(batch, step))
    finally:
        model.train(training)


def ranked_by(spec: ModelSpec, dataset: Dataset, settings: TrainSettings) -> str:
    """The scalar that ranks epochs: what was asked for, the model's own, or a distance."""
    distance = DISTANCES[dataset.spec.kind] if settings.judge_samples else ""
    return settings.best or spec.best or distance


def score(by: str, rows: Mapping[str, Mapping[str, Any]], world: World) -> float | None:
    """An epoch's value of the scalar `by`, on every process; None where it was not measured.

    Args:
        rows: of the test split, and in the main process, which alone looks at them, of samples.
    """
    test = rows.get("test", {})
    if by in test or by not in DISTANCES.values():
        return test.get(by)
    found = rows.get("samples", {}).get(by)
    text = world.from_main("" if found is None else repr(float(found)))
    return float(text) if text else None
