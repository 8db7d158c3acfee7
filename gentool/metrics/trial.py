"""One model on trial: what its metrics may look at, and how each is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool.console import Progress
from gentool.data.dataset import Dataset
from gentool.errors import UserError
from gentool.folder import Folder
from gentool.loading import LoadedModel
from gentool.metrics import features as spaces
from gentool.metrics.features import Classifier, Features
from gentool.metrics.memorisation import to_nearest
from gentool.metrics.plan import Plan
from gentool.metrics.registry import function_of
from gentool.model import Batch, Model
from gentool.noise import Noise
from gentool.render.grid import to_pixels
from gentool.spec import MetricInfo
from gentool.train.batches import as_tensor

PART = 5000
"""Rows of the training split that are in memory at a time."""


@dataclass
class Bench:
    """What all models on one data set are held against: the reals, their features, the floor.

    `source` is what ``--data`` said, without a count. A metric may note in `facts`, which go into
    the record, what else its numbers depend on, and keep in `kept` what it needs again.
    """

    dataset: Dataset
    plan: Plan
    device: torch.device
    cache: Path
    progress: Progress
    source: str = ""
    _reals: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    _features: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    _distances: dict[int, Tensor] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    _floors: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)

    @property
    def home(self) -> torch.device:
        """Where examples and features lie; not every device has the float64 of the sums."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    @property
    def n(self) -> int:
        """Examples on each side of a comparison."""
        assert self.plan.n is not None  # `gentool.metrics.judge.filled` has seen to it
        return self.plan.n

    @property
    def images(self) -> bool:
        return self.dataset.spec.kind == "image"

    @cached_property
    def classifier(self) -> tuple[Classifier, Features]:
        """The classifier of the data's labels; a warning is kept where it is a bad one."""
        network, features = spaces.classifier(self.dataset, self.cache, self.device, self.progress)
        if not spaces.tells_classes_apart(features):
            self.warnings.append(spaces.weakness(features))
        return network, features

    @cached_property
    def space(self) -> Features:
        """The feature space: coordinates of points; of images the one that was asked for.

        ``auto`` is the classifier where there are labels and it learns to tell them apart, else
        the random network.
        """
        if not self.images:
            return spaces.coordinates()
        labelled = self.dataset.train.labels is not None and len(self.dataset.spec.classes) > 1
        name = self.plan.features
        if name == "pixels":
            return spaces.pixels()
        if name == "classifier" or (name == "auto" and labelled):
            features = self.classifier[1]
            if name == "classifier" or spaces.tells_classes_apart(features):
                return features
            self.warnings.append("images are compared by the features random instead")
        channels, height, width = self.dataset.spec.shape
        return spaces.random_network(channels, height, width, self.device)

    def rows(self, split: str, seed: int) -> np.ndarray:
        """Which n rows of a split a seed looks at, in ascending order."""
        size = len(self.dataset.train if split == "train" else self.dataset.test)
        if size <= self.n:
            return np.arange(size)
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(size, generator=generator)[: self.n].sort().values.numpy()

    def real(self, split: str, seed: int) -> Tensor:
        """n real examples, as they are stored, on the device."""
        key = (split, seed)
        if key not in self._reals:
            source = self.dataset.train if split == "train" else self.dataset.test
            rows = np.ascontiguousarray(source.x[self.rows(split, seed)])
            self._reals[key] = torch.from_numpy(rows).to(self.home)
        return self._reals[key]

    def real_features(self, split: str, seed: int) -> Tensor:
        key = (split, seed)
        if key not in self._features:
            self._features[key] = self.space(self.real(split, seed))
        return self._features[key]

    @cached_property
    def train_features(self) -> Tensor:
        """Features of the whole training split, float32 (N, d)."""
        x = self.dataset.train.x
        parts = [x[i : i + PART] for i in range(0, len(x), PART)]
        return torch.cat([self.space(torch.from_numpy(p.copy()).to(self.home)) for p in parts])

    def test_to_train(self, seed: int) -> Tensor:
        """Distances of n real test examples to their nearest training example."""
        if seed not in self._distances:
            test = self.real_features("test", seed)
            self._distances[seed] = to_nearest(test, self.train_features)
        return self._distances[seed]

    def told(self, model: Model, seed: int) -> Tensor | None:
        """What a conditional model is told: labels or attributes of n training examples.

        In the data's proportions; where the data has no such labels, all alike. They are drawn
        anew. With the labels of the very reals that samples are compared with, a perfect model
        would be nearer to them than other reals are: its classes would agree.
        """
        train, spec = self.dataset.train, self.dataset.spec
        labelled = train.labels is not None and len(spec.classes) == model.classes
        if (model.classes and not labelled) or not set(model.condition) <= set(spec.attributes):
            return model.in_turn(self.n)
        noise = Noise(seed, "labels", torch.zeros((), dtype=torch.int64), exact=True)
        rows = (noise.uniform("rows", (self.n,)).double() * len(train)).long().numpy()
        labels = None if train.labels is None else as_tensor(train.labels[rows])
        values = None if train.attributes is None else as_tensor(train.attributes[rows])
        return model.given(Batch(torch.empty(0), labels, attributes=values))

    def floor(self, metric: MetricInfo, trial: Trial) -> dict[str, float] | None:
        """The metric between real training and real test examples, n of each."""
        if metric.compares == "model":
            return None
        key = (metric.name, trial.seed)
        if key not in self._floors:
            test = self.real("test", trial.seed)
            self._floors[key] = trial.take(metric, test, self.real_features)
        return self._floors[key]


@dataclass
class Trial:
    """One model and one seed.

    Attributes:
        bench: the data and everything about it.
        loaded: the model.
        results: the folder of the run for what was found of it; None for a lone file.
    """

    bench: Bench
    loaded: LoadedModel
    seed: int
    results: Folder | None = None

    @property
    def plan(self) -> Plan:
        return self.bench.plan

    @cached_property
    def samples(self) -> Tensor:
        """n samples as they would be stored: images rounded to uint8, points float32."""
        plan, bench = self.plan, self.bench
        labels = bench.told(self.loaded.model, self.seed)
        bench.progress("drawing samples", 0, 1)
        x = self.loaded.sample(bench.n, seed=self.seed, labels=labels, draw=plan.draw)
        bench.progress("drawing samples", 1, 1)
        if bench.images:
            return torch.from_numpy(to_pixels(x.numpy())).to(bench.home)
        if not torch.isfinite(x).all():
            raise UserError(
                "the model's samples hold NaN or infinity; it has not been trained well"
            )
        return x.to(bench.home)

    @cached_property
    def sample_features(self) -> Tensor:
        return self.bench.space(self.samples)

    def measure(self, metric: MetricInfo) -> dict[str, float]:
        """The metric of this model's samples, or of the model itself."""
        if metric.compares == "model":
            return function_of(metric)(self, **self._arguments(metric))
        return self.take(metric, self.samples, lambda split, seed: self.sample_features)

    def take(
        self, metric: MetricInfo, other: Tensor, features_of: Callable[[str, int], Tensor]
    ) -> dict[str, float]:
        """Call a metric's function with `other` held against real training examples.

        Args:
            features_of: called as features_of("test", seed), gives the features of `other`.
        """
        function, arguments = function_of(metric), self._arguments(metric)
        if metric.compares == "samples":
            return function(self, other, **arguments)
        if metric.compares == "features":
            real = self.bench.real_features("train", self.seed)
            return function(real, features_of("test", self.seed), **arguments)
        return function(self.bench.real("train", self.seed), other, **arguments)

    def _arguments(self, metric: MetricInfo) -> dict[str, object]:
        return {name: getattr(self.plan, name) for name in metric.arguments}
