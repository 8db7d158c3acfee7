"""Tiny models and helpers for tests of the core; no plugin is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from gentool.data import DataOptions, load
from gentool.folder import Folder
from gentool.model import SGD, Adam, Batch, Model, Objective, Player, Step
from gentool.noise import Noise
from gentool.runs import Run
from gentool.spec import DataSpec, ModelSpec, Option
from gentool.train.distributed import World
from gentool.train.loop import Trainer
from gentool.train.recorder import RunRecorder
from gentool.train.settings import TrainSettings
from gentool.weights import Header


@dataclass(frozen=True)
class ToyConfig:
    width: Annotated[int, Option("hidden units", min=1)] = 4
    k: Annotated[int, Option("steps of the first player", min=1)] = 1
    dropout: Annotated[float, Option("share of units left out", min=0, below=1)] = 0.0
    noise: Annotated[bool, Option("draw latents; else take the batch for them")] = True


class ToyGame(Model):
    """Two players on points: a scorer pulls data up, a mover pulls its output up."""

    def __init__(self, config: ToyConfig, data: DataSpec) -> None:
        super().__init__()
        self.config, self.data, self.latent_shape = config, data, (2,)
        self.scorer = nn.Sequential(
            nn.Linear(data.size, config.width),
            nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, 1),
        )
        self.mover = nn.Linear(2, data.size)
        self.seen: list[tuple[str, int]] = []

    def players(self) -> Sequence[Player]:
        return [
            Player("scorer", self.scorer, self.score_loss, Adam(1e-3), steps=self.config.k),
            Player("mover", self.mover, self.move_loss, SGD(1e-2, momentum=0.9)),
        ]

    def latents(self, batch: Batch, step: Step) -> Tensor:
        if not self.config.noise:
            return batch.x
        return step.noise.normal("z", (len(batch.x), 2)).to(batch.x.dtype)

    def score_loss(self, batch: Batch, step: Step) -> Objective:
        self.seen.append(("scorer", int(batch.x.shape[0])))
        z = self.latents(batch, step)
        real, fake = self.scorer(batch.x.flatten(1)), self.scorer(self.mover(z))
        loss = (fake - real + 0.1 * real.square() + 0.1 * fake.square()).mean()
        return Objective(loss, {"gap": (real - fake).mean()})

    def move_loss(self, batch: Batch, step: Step) -> Objective:
        self.seen.append(("mover", int(batch.x.shape[0])))
        z = self.latents(batch, step)
        return Objective(-self.scorer(self.mover(z)).mean())

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        x = self.mover(z.to(self.mover.weight.dtype))
        return x if self.data.kind == "points" else x.view(-1, *self.data.shape).sigmoid()


SPEC = ModelSpec(summary="toy", config=ToyConfig, factory="toy:ToyGame")


def trainer(
    folder: Path,
    settings: TrainSettings,
    config: ToyConfig | None = None,
    double: bool = False,
    world: World | None = None,
) -> Trainer:
    """A trainer of the toy game on 100 ring points, in `folder`."""
    dataset = load(DataOptions(data="ring:100", holdout=0.0, cache=str(folder / "cache")))
    torch.manual_seed(settings.seed)
    model = ToyGame(config or ToyConfig(), dataset.spec)
    if double:
        model.double()
    run = Run(folder / "run")
    run.samples.mkdir(parents=True, exist_ok=True)
    header = Header("toy", "tests", "0", {}, dataset.spec, {})
    world = world or World(torch.device("cpu"))
    recorder = RunRecorder(run, Folder(run.path), header, model, dataset, settings, world.device)
    made = Trainer(model, SPEC, dataset, settings, world, recorder)
    if double:
        made.loader.x = made.loader.x.double()
    return made


def run_of(made: Trainer) -> Run:
    """Where a trainer made here writes."""
    assert isinstance(made.recorder, RunRecorder)
    return made.recorder.run
