"""A model under test: tiny made-up data for it, and what every rule needs to ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool import options, plugins
from gentool.data.dataset import Dataset, Report, Split
from gentool.model import Batch, Model, Player, Prepares, Step
from gentool.noise import Noise
from gentool.sampling import draw_samples
from gentool.spec import DataSpec, ModelSpec
from gentool.train.distributed import World
from gentool.train.loop import Trainer
from gentool.train.player import freeze_all_but, slice_batch
from gentool.train.settings import TrainSettings
from gentool.weights import Header

CLASSES = ("a", "b", "c")
SHAPES: dict[str, tuple[int, ...]] = {"image": (1, 16, 16), "points": (2,)}
EXAMPLES, BATCH = 48, 8
CPU = torch.device("cpu")


class ConformanceError(AssertionError):
    """A rule of the contract is broken; the message says what to change."""


class Skip(Exception):
    """The rule does not apply to this model; the message says why."""


def demand(kept: bool, message: str) -> None:
    """Raise ConformanceError with `message` unless the rule is kept."""
    if not kept:
        raise ConformanceError(message)


@dataclass(frozen=True)
class Candidate:
    """One model with one config on one kind of data.

    Attributes:
        door: the module that holds the plugin's hook.
        given: the options that the config was made from.
        folder: for whatever a rule writes.
    """

    name: str
    door: str
    spec: ModelSpec
    config: Any
    given: Mapping[str, object]
    data: DataSpec
    folder: Path

    @property
    def conditional(self) -> bool:
        """Whether the model says that it is class-conditional."""
        with torch.random.fork_rng(devices=[]):
            return bool(getattr(self.build(), "classes", 0))

    def build(self, seed: int = 0) -> Model:
        """A fresh model, as training builds it."""
        torch.manual_seed(seed)
        model: Model = self.spec.load_factory()(self.config, self.data)
        demand(
            isinstance(model, Model),
            f"the factory returns {type(model).__name__}; derive it from gentool.model.Model",
        )
        return model

    def prepared(self) -> Model:
        """A fresh model that has looked at data, as before the first step."""
        model = self.build()
        if isinstance(model, Prepares):
            model.prepare(self.batch(EXAMPLES).x)
        return model

    def split(self, n: int, seed: int) -> Split:
        """Made-up examples with labels: a bright square, or a cloud, in one of three places."""
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % len(CLASSES)
        if self.data.kind == "points":
            centres = 2.0 * labels[:, None] - 2.0 + np.zeros(self.data.shape)
            noise = 0.3 * rng.standard_normal((n, *self.data.shape))
            return Split((centres + noise).astype(np.float32), labels)
        x = rng.integers(0, 40, (n, *self.data.shape), dtype=np.uint8)
        side = max(1, self.data.shape[1] // 3)
        for k in range(len(CLASSES)):
            x[labels == k, :, k * side : (k + 1) * side, :side] += 200
        return Split(x, labels)

    def batch(self, n: int = BATCH) -> Batch:
        """n examples as the trainer would hand them over."""
        split = self.split(n, seed=1)
        x, labels = torch.from_numpy(split.x), torch.from_numpy(split.labels)
        if self.data.kind == "image":
            return Batch(torch.true_divide(x, 255), labels, x)
        return Batch(x, labels)

    def labels(self, n: int) -> Tensor | None:
        """Labels for n samples, where the model takes any."""
        return torch.arange(n) % len(CLASSES) if self.conditional else None

    def samples(
        self, model: Model, n: int = 4, seed: int = 0, draw: bool = False, **more: Any
    ) -> Tensor:
        """n samples, in eval mode, as ``gentool sample`` draws them."""
        more.setdefault("labels", self.labels(n))
        was_training = model.training
        model.eval()
        try:
            return draw_samples(model, n, CPU, seed=seed, draw=draw, **more)
        finally:
            model.train(was_training)

    def trainer(self, steps: int, world: World | None = None, **more: Any) -> Trainer:
        """A trainer of a prepared model, which writes nothing."""
        dataset = Dataset(
            "kit", self.split(EXAMPLES, 1), self.split(9, 2), self.data, Report(), "kit"
        )
        settings = TrainSettings(steps=steps, batch_size=BATCH, sample_every=0, **more)
        model = self.prepared().train()
        return Trainer(model, self.spec, dataset, settings, world or World(CPU))

    def place(self, name: str) -> Path:
        """A new folder for what a rule writes."""
        path = self.folder / self.data.kind / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def header(self) -> Header:
        """What a model file of this subject says of itself."""
        return Header(self.name, "kit", "0", options.to_json(self.config), self.data, {})

    def on(self, shape: tuple[int, ...]) -> Candidate:
        """The same model on examples of another shape."""
        return replace(self, data=replace(self.data, shape=shape))


def step_at(player: str, number: int = 0, row_offset: int = 0, exact: bool = False) -> Step:
    """Where an objective is evaluated: the noise of one step, halfway through training."""
    at = torch.tensor(number)
    noise = Noise(0, player, at, row_offset=row_offset, exact=exact)
    return Step(noise, torch.tensor(0.5))


def alone(trainer: Trainer, player: Player) -> None:
    """Freeze every other player's parameters, as the trainer does."""
    freeze_all_but(trainer.players, next(s for s in trainer.players if s.player is player))


def first_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str | None:
    """The first name under which two state dicts differ in any bit; None where they are equal."""
    for name in a:
        if name not in b or not torch.equal(a[name], b[name]):
            return name
    return next((name for name in b if name not in a), None)


def rows(batch: Batch, start: int, stop: int) -> Batch:
    """Rows start … stop-1."""
    return slice_batch(batch, start, stop)


def subjects(
    model: str | ModelSpec,
    given: Mapping[str, object],
    folder: Path,
    kinds: Sequence[str] | None = None,
) -> list[Candidate]:
    """The model on each kind of data, by default those that its spec names."""
    if isinstance(model, str):
        plugin = plugins.find(model)
        spec, name, door = plugins.spec_of(plugin), model, plugin.entry_point.module
    else:
        spec, name, door = model, model.factory, model.config.__module__
    config = options.build(spec.config, given)
    known = [kind for kind in kinds or spec.data if kind in SHAPES] or ["points"]
    data = [DataSpec(kind, SHAPES[kind], CLASSES) for kind in known]  # type: ignore[arg-type]
    return [Candidate(name, door, spec, config, given, one, folder) for one in data]
