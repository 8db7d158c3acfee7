"""Who moves when, on what: rounds of players, gradients, schedules, the moving average."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from toy import ToyConfig, run_of, trainer

from gentool.train.player import lr_factor
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.weights import read_tensors

QUIET = {"sample_every": 0, "batch_size": 32, "threads": 1}


def settings(**changes: object) -> TrainSettings:
    return TrainSettings(**{**QUIET, **changes})  # type: ignore[arg-type]


def test_rounds_follow_algorithm_1(tmp_path: Path) -> None:
    """k steps of the first player, then one of the other; ragged last batch; across epochs."""
    made = trainer(tmp_path, settings(steps=7), ToyConfig(k=3))
    made.fit()
    batches = [32, 32, 32, 4, 32, 32, 32]
    expected = []
    for i, n in enumerate(batches):
        expected.append(("scorer", n))
        if (i + 1) % 3 == 0:
            expected.append(("mover", n))
    assert made.model.seen == expected  # type: ignore[comparison-overlap]


def test_a_step_changes_only_the_moving_player(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(steps=10), ToyConfig(k=2))
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    made.take_step()
    after = made.model.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("scorer"))
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("mover"))
    made.take_step()
    assert not torch.equal(before["mover.weight"], made.model.state_dict()["mover.weight"])


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """In float64; without noise, which is drawn anew for each part by the reference."""
    weights = []
    for parts in (1, 3):
        wanted = settings(steps=2, accumulate=parts)
        made = trainer(tmp_path / str(parts), wanted, ToyConfig(noise=False), double=True)
        for _ in range(2):
            made.take_step()
        weights.append(torch.cat([p.detach().flatten() for p in made.model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_schedules(schedule: str) -> None:
    assert lr_factor(schedule, 10, 0, 100) == pytest.approx(0.1)
    assert lr_factor(schedule, 10, 10, 100) == pytest.approx(1.0)
    expected = {"constant": 1.0, "linear": 0.5, "cosine": 0.5}[schedule]
    assert lr_factor(schedule, 10, 55, 100) == pytest.approx(expected)
    end = {"constant": 1.0, "linear": 0.0, "cosine": 0.0}[schedule]
    assert lr_factor(schedule, 10, 100, 100) == pytest.approx(end)
    assert lr_factor("cosine", 0, 25, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_clipping_bounds_the_gradient_and_its_norm_is_logged(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(steps=1, clip_grad=1e-3))
    made.fit()
    for state in made.players:
        norm = torch.cat([p.grad.flatten() for p in state.parameters if p.grad is not None]).norm()
        assert norm <= 1e-3 * 1.001
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert row["scorer_grad_norm"] > 1e-3 and "mover_loss" in row and "gap" in row


@pytest.mark.parametrize(
    ("warm_up", "decays"),
    [(False, [0.5] * 5), (True, [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15])],
)
def test_the_average_is_what_samples_and_the_raw_weights_go_on(
    tmp_path: Path, warm_up: bool, decays: list[float]
) -> None:
    made = trainer(tmp_path, settings(steps=5, ema=0.5, ema_warmup=warm_up))
    expected = {k: v.clone() for k, v in made.model.state_dict().items()}
    for decay in decays:
        made.take_step()
        for k, v in made.model.state_dict().items():
            expected[k] = decay * expected[k] + (1 - decay) * v
    made.save()
    made.recorder.flush()
    for k, v in read_tensors(run_of(made).model).items():
        torch.testing.assert_close(v, expected[k])
    raw = load_newest(run_of(made).state).groups["weights"]
    assert torch.equal(raw["mover.weight"], made.model.state_dict()["mover.weight"])
    with made.game.averaged():
        torch.testing.assert_close(
            made.model.state_dict()["mover.weight"], expected["mover.weight"]
        )
    assert torch.equal(raw["mover.weight"], made.model.state_dict()["mover.weight"])


def test_fp16_survives_a_scaler_that_overflows(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(steps=30, precision="fp16", clip_grad=1.0))
    for state in made.players:
        state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    made.fit()
    rows = [json.loads(x) for x in run_of(made).metrics.read_text().splitlines()]
    norms = [r["scorer_grad_norm"] for r in rows if "scorer_grad_norm" in r]
    assert norms and len(norms) < 8 and all(math.isfinite(n) for n in norms)
