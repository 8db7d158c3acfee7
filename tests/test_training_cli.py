"""``gentool train`` and ``gentool resume`` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result

from gentool.train.state import load_newest
from gentool.train.stopping import parse_duration
from gentool.weights import read_tensors

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:300", "--hidden", "16", "--latent-dim", "4", "--threads", "1")


def test_durations_are_read_with_units() -> None:
    assert parse_duration("90s") == 90 and parse_duration("1h30m") == 5400
    assert parse_duration("45") == 45 and parse_duration(None) is None


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_run_without_its_checkpoints_is_not_trained_over(cli: Cli, tmp_path: Path) -> None:
    import shutil

    assert cli("train", "vae", *SMALL, "--epochs", 1, "--out", "run").code == 0
    shutil.rmtree(tmp_path / "run" / "state")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    result = cli("resume", "run", "--epochs", 2)
    assert result.code == 2 and "checkpoints" in result.err and "gone" in result.err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_best_must_be_a_scalar_that_there_is(cli: Cli, tmp_path: Path) -> None:
    """And that is said before anything is written, since an epoch may take hours."""
    result = cli("train", "vae", *SMALL, "--epochs", 1, "--best", "neg_elbow")
    assert result.code == 2 and "neg_elbow" in result.err and "neg_elbo," in result.err
    assert not (tmp_path / "runs").exists() and "epoch 1" not in result.err


def test_epochs_and_steps_replace_each_other(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("steps = 3\n")
    options = ("--config", "r.toml", "--epochs", 1, "--out", "run")
    assert cli("train", "vae", *SMALL, *options).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["epochs"] == 1
