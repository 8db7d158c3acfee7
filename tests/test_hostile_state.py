"""A checkpoint whose checksums fit, but whose content does not: no kernel ever sees it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result
from hostile import newest, refused, reseal
from toy import ToyConfig, run_of, trainer

from gentool.errors import UserError
from gentool.model import OptimizerSpec, Player
from gentool.train.optimizers import make_optimizer
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.weights import read_tensors, save_tensors

Cli = Callable[..., Result]


Damage = Callable[[dict[str, torch.Tensor]], None]


def change(key: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        tensors[key] = value(tensors[key]).contiguous()

    return damage


MOMENT = "player0/optimizer/0/exp_avg"
OPTIM: dict[str, Damage] = {
    "short moment": change(MOMENT, lambda t: t.flatten()[:3].clone()),
    "long moment": change(MOMENT, lambda t: torch.zeros(10**6)),
    "other shape": change(MOMENT, lambda t: t.mT.clone()),
    "other type": change(MOMENT, lambda t: t.half()),
    "counter of many": change("player0/optimizer/0/step", lambda t: torch.ones(5)),
    "counter below 0": change("player0/optimizer/0/step", lambda t: -torch.ones(())),
    "counter NaN": change("player0/optimizer/0/step", lambda t: torch.tensor(torch.nan)),
    "short generator": change("rng/cpu/0", lambda t: t[:100].clone()),
    "wrong generator": change("rng/cpu/0", lambda t: torch.full_like(t, 255)),
    "short totals": change("player0/totals", lambda t: t[:2].clone()),
    "totals NaN": change("player0/totals", lambda t: torch.full_like(t, torch.nan)),
    "no moment": lambda t: t.__delitem__(MOMENT),
    "no totals": lambda t: t.__delitem__("player0/totals"),
    "parameter 999": lambda t: t.update({"player0/optimizer/999/step": torch.zeros(())}),
    "player 9": lambda t: t.update({"player9/totals": torch.zeros(4)}),
    "unknown": lambda t: t.update({"x": torch.zeros(4)}),
}


@pytest.mark.parametrize("damage", OPTIM.values(), ids=OPTIM.keys())
def test_state_of_another_shape_reaches_no_kernel(cli: Cli, run: Path, damage: Damage) -> None:
    """Tensors of an optimizer whose manifest fits; a wrong length once wrote past memory's end."""
    file = newest(run) / "optim.safetensors"
    tensors = read_tensors(file)
    damage(tensors)
    save_tensors(file, tensors)
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "does not fit its run", "train again")


@pytest.mark.parametrize("group", ["weights", "average"])
@pytest.mark.parametrize("kind", ["shape", "type", "nan", "missing", "more"])
def test_weights_are_held_to_the_model(tmp_path: Path, group: str, kind: str) -> None:
    made = trainer(tmp_path, TrainSettings(steps=3, ema=0.5, sample_every=0), ToyConfig())
    made.fit()
    path = newest(run_of(made).path)
    tensors = read_tensors(path / f"{group}.safetensors")
    bias = tensors.pop("mover.bias")
    changed = {"shape": torch.zeros(7), "type": bias.double(), "nan": bias / 0 * 0}
    tensors |= {"mover.bias": changed[kind]} if kind in changed else {}
    tensors |= {"mover.bias": bias, "other": bias.clone()} if kind == "more" else {}
    save_tensors(path / f"{group}.safetensors", tensors)
    reseal(path)
    again = trainer(tmp_path, TrainSettings(steps=6, ema=0.5, sample_every=0), ToyConfig())
    before = {k: v.clone() for k, v in again.model.state_dict().items()}
    with pytest.raises(UserError, match=r"mover\.bias|other"):
        again.restore(load_newest(path.parent))
    assert all(torch.equal(v, before[k]) for k, v in again.model.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": "x"},
        {"step": 10**40},
        {"best": float("nan")},
        {"best": [1]},
        {"is_best": 3},
        {"metrics_bytes": -5},
        {"players": []},
        {"players": [{"count": 1}]},
        {"players": None},
    ],
    ids=str,
)
def test_counters_are_held_to_their_range(cli: Cli, run: Path, change: dict[str, Any]) -> None:
    file = newest(run) / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "does not fit its run")


def test_sums_of_other_scalars_are_refused(cli: Cli, run: Path) -> None:
    file = newest(run) / "state.json"
    values = json.loads(file.read_text())
    names = values["players"][0]["names"]
    values["players"][0]["names"] = [f"{name}_" for name in names]
    file.write_text(json.dumps(values))
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "other scalars")


@pytest.mark.slow
def test_every_optimizer_of_torch_has_its_entries_checked(tmp_path: Path) -> None:
    """What one step on zeros leaves is what a checkpoint of a training holds, whatever the kind."""
    for kind in ("Adam", "AdamW", "SGD", "RMSprop", "NAdam", "RAdam", "Adagrad", "Rprop", "ASGD"):
        arguments = {"momentum": 0.9} if kind == "SGD" else {}
        made = trainer(tmp_path / kind, TrainSettings(steps=4, sample_every=0), ToyConfig())
        again = trainer(tmp_path / kind, TrainSettings(steps=8, sample_every=0), ToyConfig())
        for one in (made, again):
            for state in one.players:
                own = OptimizerSpec(kind, 1e-3, arguments)
                state.player = Player(
                    state.player.name, state.player.module, state.player.objective, own
                )
                state.optimizer = make_optimizer(own, state.parameters, torch.device("cpu"))
        made.fit()
        again.restore(load_newest(run_of(made).state))
        again.fit()
        assert again.step == 8


def test_a_missing_momentum_starts_from_zero(tmp_path: Path) -> None:
    """Fused SGD fails where some parameters have a buffer and others none."""
    made = trainer(tmp_path, TrainSettings(steps=20, batch_size=20))
    made.take_step()
    checkpoint = made.game.snapshot()
    optim = dict(checkpoint.groups["optim"])
    missing = next(key for key in optim if key.endswith("momentum_buffer"))
    del optim[missing]
    groups = {**checkpoint.groups, "optim": optim}
    made.game.restore(dataclasses.replace(checkpoint, groups=groups))
    made.take_step()
    assert missing in made.game.snapshot().groups["optim"]
