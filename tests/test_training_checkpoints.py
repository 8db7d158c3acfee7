"""Runs resume bit for bit, and what is damaged or diverged is never kept."""

from __future__ import annotations

import json
import math
import signal
import warnings
from pathlib import Path

import pytest
import torch
from toy import ToyConfig, run_of, trainer

from gentool.errors import UserError
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.train.stopping import Stopped

QUIET = {"sample_every": 0, "batch_size": 32, "threads": 1}


def settings(**changes: object) -> TrainSettings:
    return TrainSettings(**{**QUIET, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop_at", [1, 4, 6])
def test_a_resumed_run_equals_an_undisturbed_one(
    tmp_path: Path, stop_at: int, ema: float | None
) -> None:
    """Bit for bit: weights, optimizers, dropout's global generator, metrics."""
    config = ToyConfig(k=2, dropout=0.3)
    wanted = settings(steps=9, ema=ema, log_every=1)
    whole = trainer(tmp_path / "whole", wanted, config)
    whole.fit()

    first = trainer(tmp_path / "parts", wanted, config)
    original = first.take_step

    def stop_after() -> None:
        original()
        if first.step == stop_at:
            signal.raise_signal(signal.SIGTERM)

    first.take_step = stop_after  # type: ignore[method-assign]
    with pytest.raises(Stopped) as stopped:
        first.fit()
    assert stopped.value.code == 128 + signal.SIGTERM
    torch.rand(17)  # a new process has another generator state
    second = trainer(tmp_path / "parts", wanted, config)
    second.restore(load_newest(run_of(second).state))
    assert second.step == stop_at
    second.fit()
    assert run_of(second).model.read_bytes() == run_of(whole).model.read_bytes()

    def rows(run: Path) -> list[dict[str, object]]:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(x).items() if k != "examples_per_s"} for x in lines]

    assert rows(run_of(second).path) == rows(run_of(whole).path)


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(epochs=3, keep=3))
    made.fit()
    newest = sorted(run_of(made).state.iterdir())[-1]
    file = newest / "optim.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        checkpoint = load_newest(run_of(made).state)
    assert checkpoint.values["step"] == 8
    for path in run_of(made).state.iterdir():
        (path / "manifest.json").unlink()
    with warnings.catch_warnings(), pytest.raises(UserError, match="no intact checkpoint"):
        warnings.simplefilter("ignore")
        load_newest(run_of(made).state)


def test_an_abandoned_future_does_not_count_as_newest(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(epochs=3, keep=3))
    made.fit()
    newest = run_of(made).state / "step-000000012"
    (newest / "manifest.json").write_text("{}")
    again = trainer(tmp_path, settings(steps=10, keep=1))
    with pytest.warns(UserWarning, match="damaged"):
        again.restore(load_newest(run_of(again).state))
    again.fit()
    assert [p.name for p in run_of(again).state.glob("step-*")] == ["step-000000010"]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(epochs=4))
    original = made.take_step

    def poison() -> None:
        if made.step == 5:
            with torch.no_grad():
                made.model.mover.weight.fill_(math.nan)  # type: ignore[union-attr,operator]
        original()

    made.take_step = poison  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no longer finite") as error:
        made.fit()
    assert "--clip-grad" in str(error.value)
    checkpoint = load_newest(run_of(made).state)
    assert checkpoint.values["step"] == 4
    assert all(torch.isfinite(v).all() for v in checkpoint.groups["weights"].values())


def test_a_diverged_model_is_never_saved(tmp_path: Path) -> None:
    """Not by Ctrl-C either, which is what a person who sees NaN presses."""
    made = trainer(tmp_path, settings(epochs=4, log_every=1000))
    original = made.take_step

    def poison_and_stop() -> None:
        original()
        if made.step == 6:
            with torch.no_grad():
                made.model.mover.weight.fill_(math.nan)  # type: ignore[union-attr,operator]
            signal.raise_signal(signal.SIGTERM)

    made.take_step = poison_and_stop  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no longer finite"):
        made.fit()
    assert load_newest(run_of(made).state).values["step"] == 4


def test_two_processes_do_not_share_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from gentool.train.lock import locked

    with locked(tmp_path), pytest.raises(UserError, match=r"process \d+ on"), locked(tmp_path):
        pass
    assert not (tmp_path / "lock").exists()
    (tmp_path / "lock").write_text('{"pid": 4194304, "host": "gone"}')
    with locked(tmp_path):
        assert "taking over the run from process 4194304 on gone" in capsys.readouterr().err
