"""A job is the same however it was asked for, and a run can be followed from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from gentool.errors import UserError
from gentool.options import to_json
from gentool.train import session
from gentool.train.job import DEFAULT_EPOCHS, from_options, from_run, override
from gentool.train.progress import TrainProgress

Cli = Callable[..., Result]
SMALL: dict[str, Any] = {"data": "glyphs:64", "hidden": (8,), "latent_dim": 2, "threads": 1}

RECIPE = """
model = "vae"
data = "glyphs:64"
hidden = [8]
latent-dim = 2
{length}

[recipe]
source = "a test"

[[recipe.check]]
metric = "elbo"
value = "elbo"
expected = 500
band = [0, 1000]
n = 10
"""


@pytest.mark.parametrize(
    ("chosen", "more", "expected"),
    [
        ({"epochs": 3}, {"steps": 5}, {"steps": 5}),
        ({"steps": 5}, {"epochs": 3}, {"epochs": 3}),
        ({"epochs": 3, "steps": None}, {"steps": 5}, {"steps": 5}),
        ({"epochs": 3}, {"steps": None}, {"epochs": 3, "steps": None}),
        ({"epochs": 3}, {"epochs": 1, "steps": 5}, {"epochs": 1, "steps": 5}),
        ({"epochs": 3}, {"seed": 1}, {"epochs": 3, "seed": 1}),
    ],
)
def test_a_length_replaces_the_other(
    chosen: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert override(chosen, more) == expected


@pytest.mark.parametrize("verb", ["train", "verify"])
def test_two_lengths_in_one_place_are_refused_by_every_verb(cli: Cli, verb: str) -> None:
    Path("both.toml").write_text(RECIPE.format(length="epochs = 1\nsteps = 2"))
    command = {"train": ("train", "vae", "--config"), "verify": ("verify",)}[verb]
    result = cli(*command, "both.toml")
    assert result.code == 2 and "--epochs and --steps" in result.err
    assert not Path("runs").exists()


def test_a_recipes_epochs_yield_to_steps_on_the_command_line(cli: Cli) -> None:
    Path("mine.toml").write_text(RECIPE.format(length="epochs = 100"))
    options = ("--config", "mine.toml", "--steps", 2, "--sample-every", 0, "--out", "run")
    assert cli("train", "vae", *options).code == 0
    settings = json.loads(Path("run/config.json").read_text())["settings"]
    assert settings["epochs"] is None and settings["steps"] == 2


def test_options_a_file_and_a_run_give_the_same_job(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(RECIPE.format(length="epochs = 1"))
    by_file = from_options("vae", {"threads": 1}, file)
    by_options = from_options("gentool:vae", {**SMALL, "epochs": 1})
    assert by_file == by_options
    run = session.start(by_options, tmp_path / "run", lambda moment: None)
    assert replace(from_run(run, run.read_config(), {}), noise=None) == by_options
    changed = from_run(run, run.read_config(), {"steps": 7})
    assert changed.settings.epochs is None and changed.settings.steps == 7


def test_a_job_without_a_length_has_the_default() -> None:
    assert from_options("vae", SMALL).settings.epochs == DEFAULT_EPOCHS
    assert from_options("vae", {**SMALL, "steps": 3}).settings.epochs is None


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="'latent_dimm'; did you mean 'latent_dim'"):
        from_options("vae", {"latent_dimm": 3})
    with pytest.raises(UserError, match="--latent-dim is 0"):
        from_options("vae", {"latent_dim": 0})


def test_a_wrong_option_is_told_before_torch_is_loaded() -> None:
    code = (
        "import sys; from gentool.train.job import from_options\n"
        "try: from_options('vae', {'latent_dim': 0})\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["UserError", "False"]


def test_a_function_follows_a_training(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called through every epoch and at its end, and nothing is written to the terminal."""
    monkeypatch.setattr("gentool.train.display.Display.INTERVAL", 0.0)
    seen: list[TrainProgress] = []
    job = from_options("vae", {**SMALL, "epochs": 2, "batch_size": 16})
    run = session.start(job, tmp_path / "run", seen.append)
    ends = [m for m in seen if m.rows is not None]
    assert [(m.epoch, m.epochs, m.step) for m in ends] == [(1, 2, 4), (2, 2, 8)]
    assert {"train", "test", "samples"} <= dict(ends[0].rows or {}).keys()
    steps = [m.step for m in seen if m.rows is None and not m.warning]
    assert steps == list(range(1, 9)) and all(m.total == 8 for m in seen)
    losses = [m.loss for m in seen if m.rows is None and not m.warning]
    assert all(loss is not None and loss > 0 for loss in losses)
    session.resume(run, {"epochs": 3}, progress=seen.append)
    assert seen[-1].epoch == 3 or seen[-1].warning
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_the_follower_changes_no_byte(cli: Cli, tmp_path: Path) -> None:
    job = from_options("vae", {**SMALL, "epochs": 1})
    quiet = session.start(job, tmp_path / "quiet", lambda moment: None)
    loud = session.start(job, tmp_path / "loud")
    assert quiet.model.read_bytes() == loud.model.read_bytes()
    assert to_json(from_run(quiet, quiet.read_config(), {}).settings) == to_json(job.settings)
