"""Helpers for the tests of models with two players."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from gentool.data import DataOptions, load
from gentool.model import Batch, Model, Step
from gentool.noise import Noise, sampling_noise
from gentool.spec import DataSpec, ModelSpec
from gentool.train.batches import Draw
from gentool.train.distributed import World
from gentool.train.loop import Trainer
from gentool.train.player import PlayerState, freeze_all_but
from gentool.train.settings import TrainSettings

POINTS = DataSpec("points", (2,), ("a", "b", "c"))


def step(number: int = 0) -> Step:
    return Step(Noise(3, "test", torch.tensor(number)), torch.tensor(0.0))


def batch(data: DataSpec, n: int = 6, dtype: torch.dtype = torch.float32) -> Batch:
    """Random examples of the data's shape, with labels 0, 1, 2, 0, …"""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((n, *data.shape), generator=generator, dtype=dtype)
    return Batch(x, torch.arange(n) % max(1, len(data.classes)))


def trainer(
    model: Model, spec: ModelSpec, folder: Path, steps: int, data: str = "ring:64"
) -> Trainer:
    """The real trainer, on data of the model's own kind."""
    settings = TrainSettings(steps=steps, batch_size=16, sample_every=0)
    dataset = load(DataOptions(data=data, holdout=0.0, cache=str(folder / "cache")))
    return Trainer(model, spec, dataset, settings, World(torch.device("cpu")))


def weights(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def moved_by(model: Model, player: int, data: Batch) -> set[str]:
    """The parameters that one update of one player changes, in a copy of the model."""
    model = copy.deepcopy(model).train()
    states = [
        PlayerState(p, TrainSettings(), World(torch.device("cpu")), 10) for p in model.players()
    ]
    freeze_all_but(states, states[player])
    before = weights(model)
    states[player].update(Draw(data, 0, len(data.x)))
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


def check_moves(model: Model, data: Batch) -> None:
    """Each player's update changes every weight of its own and nothing of the other's.

    A bias may stand still: that of the last layer cancels between real and generated examples.
    """
    for index, player in enumerate(model.players()):
        own = {id(p) for p in player.module.parameters()}
        mine = {name for name, p in model.named_parameters() if id(p) in own}
        moved = moved_by(model, index, data)
        assert moved <= mine
        assert all(name.endswith("bias") for name in mine - moved) and len(moved) > len(mine) / 2


def check_sampling(model: Model) -> None:
    """Samples have the data's shape, and images lie in [0, 1]; one row depends on one z."""
    model.eval()
    z = model.prior(5, sampling_noise(0))
    labels = torch.arange(5) % model.classes if model.classes else None  # type: ignore[operator]
    with torch.no_grad():
        x = model.sample(z, labels)
        alone = model.sample(z[2:3], None if labels is None else labels[2:3])
    assert x.shape == (5, *model.data.shape) and x.dtype == torch.float32
    if model.data.kind == "image":
        assert x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(alone[0], x[2], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(x[0], x[3])


def check_conditional(model: Model) -> None:
    """Another label gives other samples and other scores, and no label is refused."""
    model.eval()
    z = model.prior(4, sampling_noise(0))
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    with torch.no_grad():
        x, y = model.sample(z, zeros), model.sample(z, ones)
        assert not torch.allclose(x, y)
        assert not torch.allclose(model.score(x, zeros), model.score(x, ones))  # type: ignore[operator]
    try:
        model.sample(z)
    except ValueError as error:
        assert "labels" in str(error)
    else:
        raise AssertionError("a conditional model sampled without labels")
