"""What a model is held against: labels, features, and the words about them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gentool.data.dataset import Dataset, Report, Split
from gentool.metrics import features, registry
from gentool.metrics.features import Features
from gentool.metrics.plan import Plan
from gentool.metrics.trial import Bench, Trial
from gentool.spec import DataSpec

CLASSES, N, SIDE = 10, 200, 3


def images(labels: np.ndarray, seed: int) -> np.ndarray:
    """Images whose classes differ by more than their members do."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).uniform(40, 215, (CLASSES, 1, SIDE, SIDE))
    x = centres[labels] + random.normal(0, 12, (len(labels), 1, SIDE, SIDE))
    return x.clip(0, 255).round().astype(np.uint8)


def bench(draw: int = 0, **plan: object) -> Bench:
    """n of each side; the labels are drawn independently, as a collection's are."""
    random = np.random.default_rng(draw)
    splits = []
    for part in (1, 2):
        labels = random.integers(CLASSES, size=4 * N)
        splits.append(Split(images(labels, 10 * draw + part), labels.astype(np.int64)))
    spec = DataSpec("image", (1, SIDE, SIDE), tuple("0123456789"))
    dataset = Dataset("made", *splits, spec, Report(), "0" * 16)
    wanted = {"n": N, "features": "pixels", **plan}
    return Bench(dataset, Plan(**wanted), torch.device("cpu"), Path(), lambda *_: None)  # type: ignore[arg-type]


class Perfect:
    """Draws what the data is drawn from, given a label."""

    model: Any = SimpleNamespace(classes=CLASSES, condition=(), given=lambda batch: batch.labels)

    def sample(
        self, n: int, *, seed: int, labels: torch.Tensor, draw: bool = False
    ) -> torch.Tensor:
        return torch.from_numpy(images(labels.numpy(), 10_000 + seed)) / 255


def test_a_perfect_conditional_model_is_at_the_floor() -> None:
    """Its KID is 0 and its Fréchet distance the floor, each within four standard errors.

    With the labels of the reals it is held against, both were below what reals themselves reach.
    """
    metrics = [registry.find(name) for name in ("kid", "frechet")]
    found = []
    for seed in range(60):
        held = bench(seed, seed=seed)
        trial = Trial(held, Perfect(), seed)  # type: ignore[arg-type]
        taken = {k: v for m in metrics for k, v in trial.measure(m).items()}
        floor = held.floor(metrics[1], trial)
        assert floor is not None
        found.append((taken["kid"], taken["frechet"] - floor["frechet"]))
    values = np.array(found)
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    assert np.all(np.abs(values.mean(0)) < 4 * error), (values.mean(0), error)


def test_labels_are_in_the_datas_proportions_and_not_the_reals() -> None:
    held = bench()
    labels = held.told(Perfect.model, 0)
    assert labels is not None and labels.dtype == torch.int64 and len(labels) == N
    train = held.dataset.train.labels
    assert train is not None
    assert not np.array_equal(labels.numpy(), train[held.rows("train", 0)])
    shares = np.bincount(labels, minlength=CLASSES) / N
    assert np.abs(shares - np.bincount(train, minlength=CLASSES) / len(train)).max() < 0.08
    again = held.told(Perfect.model, 0)
    assert again is not None and torch.equal(labels, again)


@pytest.mark.parametrize(("asked", "used"), [("auto", "random"), ("classifier", "classifier")])
def test_a_bad_classifier_is_not_used_in_silence(
    asked: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classifier(*_: object) -> tuple[None, Features]:
        function = features.pixels().function
        return None, Features("classifier", "0" * 12, function, {"accuracy": 0.29, "chance": 0.1})

    monkeypatch.setattr(features, "classifier", classifier)
    held = bench(features=asked)
    assert held.space.name == used
    assert "right on 29% of the test images" in held.warnings[0]
    assert ("random instead" in " ".join(held.warnings)) == (asked == "auto")


def test_a_classifier_is_trusted_from_halfway_between_guessing_and_knowing() -> None:
    made = features.pixels()
    for accuracy, chance, trusted in [(0.56, 0.1, True), (0.54, 0.1, False), (0.9, 0.85, False)]:
        facts = {"accuracy": accuracy, "chance": chance}
        assert features.tells_classes_apart(dataclasses.replace(made, facts=facts)) == trusted
