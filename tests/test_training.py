"""The loop of players: who moves when, on what, and that runs repeat bit for bit."""

from __future__ import annotations

import json
import math
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from toy import ToyConfig, trainer

from gentool.data.dataset import Split
from gentool.errors import UserError
from gentool.train.batches import BatchLoader
from gentool.train.player import lr_factor
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.train.stopping import Stopped, parse_duration
from gentool.weights import read_tensors

Cli = Callable[..., Result]
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


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own() -> None:
    split = Split(np.arange(10, dtype=np.float32)[:, None])
    loader = BatchLoader(split, 4, torch.device("cpu"), seed=1)
    epochs = [
        torch.cat([loader.at(e * 3 + i).batch.x for i in range(3)]).flatten() for e in range(2)
    ]
    for seen in epochs:
        assert sorted(seen.tolist()) == list(range(10))
    assert not torch.equal(*epochs)
    again = BatchLoader(split, 4, torch.device("cpu"), seed=1)
    assert torch.equal(again.at(4).batch.x, loader.at(4).batch.x), (
        "the order depends on what was read before"
    )
    assert BatchLoader(split, 4, torch.device("cpu"), drop_last=True).per_epoch == 2


def test_images_become_floats_of_their_pixels_and_flips_are_fair() -> None:
    x = np.zeros((1000, 1, 1, 3), dtype=np.uint8)
    x[:, 0, 0] = (0, 51, 255)
    split = Split(x, np.zeros(1000, dtype=np.int64))
    plain = BatchLoader(split, 1000, torch.device("cpu")).at(0).batch
    torch.testing.assert_close(plain.x[0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))
    flipped = BatchLoader(split, 1000, torch.device("cpu"), flip=True).at(0).batch
    assert flipped.pixels is not None
    assert torch.equal(flipped.x, flipped.pixels / 255)
    assert 0.4 < (flipped.x[:, 0, 0, 0] == 1).float().mean() < 0.6


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


def test_the_average_is_what_samples_and_the_raw_weights_go_on(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(steps=5, ema=0.5))
    expected = {k: v.clone() for k, v in made.model.state_dict().items()}
    for _ in range(5):
        made.take_step()
        for k, v in made.model.state_dict().items():
            expected[k] = 0.5 * expected[k] + 0.5 * v
    from gentool.train.log import MetricsLog

    made.log = MetricsLog(made.run.metrics)
    made.save()
    made.saver.wait()
    for k, v in read_tensors(made.run.model).items():
        torch.testing.assert_close(v, expected[k])
    raw = load_newest(made.run.state).groups["weights"]
    assert torch.equal(raw["mover.weight"], made.model.state_dict()["mover.weight"])
    with made.averaged():
        torch.testing.assert_close(
            made.model.state_dict()["mover.weight"], expected["mover.weight"]
        )
    assert torch.equal(raw["mover.weight"], made.model.state_dict()["mover.weight"])


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
    second.restore(load_newest(second.run.state))
    assert second.step == stop_at
    second.fit()
    assert second.run.model.read_bytes() == whole.run.model.read_bytes()

    def rows(run: Path) -> list[dict[str, object]]:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(x).items() if k != "examples_per_s"} for x in lines]

    assert rows(second.run.path) == rows(whole.run.path)


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(epochs=3, keep=3))
    made.fit()
    newest = sorted(made.run.state.iterdir())[-1]
    file = newest / "optim.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        checkpoint = load_newest(made.run.state)
    assert checkpoint.values["step"] == 8
    for path in made.run.state.iterdir():
        (path / "manifest.json").unlink()
    with warnings.catch_warnings(), pytest.raises(UserError, match="no intact checkpoint"):
        warnings.simplefilter("ignore")
        load_newest(made.run.state)


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
    checkpoint = load_newest(made.run.state)
    assert checkpoint.values["step"] == 4
    assert all(torch.isfinite(v).all() for v in checkpoint.groups["weights"].values())


def test_durations() -> None:
    assert parse_duration("90s") == 90 and parse_duration("1h30m") == 5400
    assert parse_duration("45") == 45 and parse_duration(None) is None


SMALL = ("--data", "glyphs:300", "--hidden", "16", "--latent-dim", "4", "--threads", "1")


def test_equal_runs_give_equal_bytes_and_other_seeds_do_not(cli: Cli, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        out = ("--out", tmp_path / name, "--seed", seed, "--epochs", 2)
        assert cli("train", "vae", *SMALL, *out).code == 0
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b and a != c


def test_a_run_is_complete_and_says_where_it_is(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "vae", *SMALL, "--epochs", 2)
    assert result.code == 0 and result.out.strip() == "runs/vae-glyphs-001"
    run = tmp_path / "runs" / "vae-glyphs-001"
    for part in ("config.json", "model.safetensors", "curves.png", "README.md", "samples.gif"):
        assert (run / part).stat().st_size > 0, part
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        f"{n:06d}.png" for n in (0, 3, 6)
    ]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert {"epoch", "step", "split"} <= row.keys()
    for split in ("train", "test"):
        last = next(r for r in reversed(rows) if r["split"] == split)
        assert last["neg_elbo"] == pytest.approx(last["recon"] + last["kl"], rel=1e-5)
        assert last["epoch"] == 2 and last["step"] == 6 and "loss" in last
    assert cli("runs", "list").out.count("vae-glyphs-001") == 1
    assert json.loads(cli("runs", "show", "--json").out)["step"] == 6


def test_resume_goes_on_and_changes_nothing_unasked(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--epochs", 3, "--out", "whole").code == 0
    assert cli("train", "vae", *SMALL, "--epochs", 2, "--out", "parts").code == 0
    assert cli("resume", "parts", "--epochs", 3).code == 0
    whole, parts = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "parts"))
    assert whole == parts
    assert "finished" in cli("resume", "parts").err


def test_a_config_file_and_the_command_line_wins(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'model = "vae"\ndata = "glyphs:64"\nhidden = [8]\nlatent-dim = 3\nsteps = 2\n'
        '[recipe]\nsource = "a test"\n'
    )
    assert cli("train", "vae", "--config", "r.toml", "--latent-dim", "5", "--out", "x").code == 0
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["config"]["latent_dim"] == 5 and config["config"]["hidden"] == [8]
    (tmp_path / "bad.toml").write_text("latent_dimm = 3\n")
    result = cli("train", "vae", "--config", "bad.toml")
    assert result.code == 2 and "latent_dim" in result.err


def test_max_time_saves_and_exits_cleanly(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "vae", *SMALL, "--epochs", 100_000, "--max-time", "1s", "--out", "run")
    assert result.code == 0 and "gentool resume" in result.err and "--max-time" in result.err
    step = load_newest(tmp_path / "run" / "state").values["step"]
    assert step > 0
    result = cli("resume", "run", "--steps", step + 2)
    assert result.code == 0 and load_newest(tmp_path / "run" / "state").values["step"] == step + 2


def test_two_processes_do_not_share_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from gentool.train.lock import locked

    with locked(tmp_path), pytest.raises(UserError, match=r"process \d+ on"), locked(tmp_path):
        pass
    assert not (tmp_path / "lock").exists()
    (tmp_path / "lock").write_text('{"pid": 4194304, "host": "gone"}')
    with locked(tmp_path):
        assert "taking over the run from process 4194304 on gone" in capsys.readouterr().err


def test_the_best_model_is_kept_by_its_test_scalar(cli: Cli, tmp_path: Path) -> None:
    options = ("--epochs", 4, "--lr", "0.05", "--save-every", 100, "--out", "run")
    assert cli("train", "vae", *SMALL, *options).code == 0
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [r["neg_elbo"] for r in rows if r["split"] == "test"]
    best = int(np.argmin(scores)) + 1
    shorter = ("--epochs", best, "--lr", "0.05", "--out", "short")
    assert cli("train", "vae", *SMALL, *shorter).code == 0
    kept, expected = (
        read_tensors(tmp_path / n) for n in ("run/best.safetensors", "short/model.safetensors")
    )
    assert all(torch.equal(kept[k], expected[k]) for k in expected)


def test_out_of_memory_is_advice(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "vae", "--data", "glyphs:64", "--hidden", 10**9, "--out", "run")
    assert result.code == 2 and "memory" in result.err and "Traceback" not in result.err


def test_a_profile_says_where_the_time_goes(cli: Cli, tmp_path: Path) -> None:
    options = ("--steps", 40, "--batch-size", 16, "--profile", "--out", "run")
    result = cli("train", "vae", *SMALL, *options)
    assert result.code == 0 and "time a step" in result.err and "addmm" in result.err
    assert "traceEvents" in json.loads((tmp_path / "run" / "profile.json").read_text())


def test_a_refused_resume_touches_nothing(cli: Cli, tmp_path: Path) -> None:
    from gentool.train.lock import locked

    assert cli("train", "vae", *SMALL, "--epochs", 2, "--out", "run").code == 0
    run = tmp_path / "run"
    with locked(run):
        before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
        result = cli("resume", "run", "--epochs", 7)
        after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert result.code == 2 and "being trained by process" in result.err
    assert before == after


def test_a_polite_stop_leaves_no_lock(cli: Cli, tmp_path: Path) -> None:
    options = ("--epochs", 100_000, "--max-time", "0.2", "--out", "run")
    assert cli("train", "vae", *SMALL, *options).code == 0
    assert not (tmp_path / "run" / "lock").exists()
    assert "taking over" not in cli("resume", "run", "--max-time", "0.1").err


def test_fp16_survives_a_scaler_that_overflows(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(steps=30, precision="fp16", clip_grad=1.0))
    for state in made.players:
        state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    made.fit()
    rows = [json.loads(x) for x in made.run.metrics.read_text().splitlines()]
    norms = [r["scorer_grad_norm"] for r in rows if "scorer_grad_norm" in r]
    assert norms and len(norms) < 8 and all(math.isfinite(n) for n in norms)


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
    assert load_newest(made.run.state).values["step"] == 4


def test_an_abandoned_future_does_not_count_as_newest(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings(epochs=3, keep=3))
    made.fit()
    newest = made.run.state / "step-000000012"
    (newest / "manifest.json").write_text("{}")
    again = trainer(tmp_path, settings(steps=10, keep=1))
    with pytest.warns(UserWarning, match="damaged"):
        again.restore(load_newest(again.run.state))
    again.fit()
    assert [p.name for p in again.run.state.glob("step-*")] == ["step-000000010"]


def test_a_run_without_its_checkpoints_is_not_trained_over(cli: Cli, tmp_path: Path) -> None:
    import shutil

    assert cli("train", "vae", *SMALL, "--epochs", 1, "--out", "run").code == 0
    shutil.rmtree(tmp_path / "run" / "state")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    result = cli("resume", "run", "--epochs", 2)
    assert result.code == 2 and "checkpoints" in result.err and "gone" in result.err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_best_must_be_a_scalar_that_there_is(cli: Cli) -> None:
    result = cli("train", "vae", *SMALL, "--epochs", 1, "--best", "neg_elbow")
    assert result.code == 2 and "neg_elbow" in result.err and "neg_elbo," in result.err


def test_epochs_and_steps_replace_each_other(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("steps = 3\n")
    options = ("--config", "r.toml", "--epochs", 1, "--out", "run")
    assert cli("train", "vae", *SMALL, *options).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["epochs"] == 1


def test_examples_are_spread_over_the_whole_split() -> None:
    from gentool.train.batches import some_examples

    split = Split(np.arange(500, dtype=np.float32)[:, None])
    seen = some_examples(split, 256).flatten()
    assert len(seen) == 256 and seen[0] == 0 and seen[-1] > 495
    assert len(some_examples(split, 10_000)) == 500
