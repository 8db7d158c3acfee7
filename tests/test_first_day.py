"""What people meet on their first day: what is said, refused and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from gentool import console
from gentool.spec import DataSpec
from gentool.train import display
from gentool.train.display import TerminalDisplay, fitted
from gentool.train.job import from_options, without_effect

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:300", "--hidden", "16", "--latent-dim", "4", "--threads", "1")


def test_a_shorter_resume_is_refused_and_changes_nothing(
    cli: Cli, trained: Callable[..., Path]
) -> None:
    run = trained("run", "vae", *SMALL, "--epochs", 3)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for option in (("--epochs", 2), ("--steps", 8)):
        result = cli("resume", run, *option)
        assert result.code == 2 and "3 epochs (step 9)" in result.err, result.err
        assert " ".join(map(str, option)) in result.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_resume_says_which_run_it_continues_and_from_where(
    cli: Cli, trained: Callable[..., Path]
) -> None:
    run = trained("run", "vae", *SMALL, "--epochs", 3)
    result = cli("resume", run, "--steps", 13)
    assert "resuming run after 3 epochs (step 9), to 4.33 epochs (step 13)" in result.err


def test_a_long_epoch_is_heard_of_every_minute_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    shown = TerminalDisplay(total=1000, per_epoch=500, batch_size=10)
    heard = []
    for step in range(1, 301):
        now += 0.5
        if shown.due():
            heard.append(now)
            shown.step(step, 1.5)
    lines = capsys.readouterr().err.splitlines()
    assert heard == [1060.0, 1120.0] and len(lines) == 2
    assert lines[0] == "epoch 1/2, step 120 of 1,000  loss 1.5  20 examples/s"


def test_other_long_work_is_heard_of_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with console.loading_bar() as progress:
        for done in range(130):
            progress("decoding images", done, 1000)
            now += 1.0
    assert capsys.readouterr().err.splitlines() == [
        "decoding images: 60 of 1,000",
        "decoding images: 120 of 1,000",
    ]


def test_the_line_of_an_epoch_fits() -> None:
    names = ("discriminator_loss", "d_real", "d_fake", "d_accuracy", "generator_loss")
    scalars = dict.fromkeys(names, 0.123456) | {"generator_grad_norm": 3.0}
    rows = {"train": scalars, "test": scalars, "samples": {"diversity": 1.0}}
    line = fitted(rows, 70)
    assert len(line) <= 70 and "grad_norm" not in line
    assert line == "train: discriminator_loss 0.1235 | test: discriminator_loss 0.1235"
    assert fitted(rows, 1000).count("generator_loss") == 2
    assert fitted({}, 70) == "" and fitted(rows, 3) == ""


def test_a_whole_epoch_line_is_within_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    shown = TerminalDisplay(total=1000, per_epoch=500, batch_size=10)
    scalars = {f"a_scalar_called_{i}": i / 7 for i in range(12)}
    shown.epoch(1, 500, 12345.6, {"train": scalars, "test": scalars})
    line = capsys.readouterr().err.rstrip("\n")
    assert len(line) <= display.WIDTH and line.endswith("examples/s") and "test:" in line
    assert json.dumps(line)  # one line


IMAGES = DataSpec("image", (1, 28, 28))
POINTS = DataSpec("points", (2,))


@pytest.mark.parametrize(
    ("model", "data", "options", "named"),
    [
        ("vae", IMAGES, {"beta": 4.0, "likelihood": "none"}, "--beta 4 has no effect with --like"),
        ("vae", IMAGES, {"sigma": 0.1}, "--sigma 0.1 has no effect with --likelihood bernoulli"),
        ("vae", POINTS, {"sigma": 0.1}, ""),
        ("vae", IMAGES, {"width": 64}, "--width 64 has no effect with --net mlp"),
        ("vae", IMAGES, {"width": 64, "net": "conv"}, ""),
        (
            "vae",
            IMAGES,
            {"hidden": (8,), "net": "conv"},
            "--hidden 8 has no effect with --net conv",
        ),
        ("vae", POINTS, {"binarize": True}, "--binarize yes has no effect on points"),
        ("wgan", IMAGES, {"clip": 0.1}, "--clip 0.1 has no effect with --lipschitz gp"),
        ("wgan", IMAGES, {"clip": 0.1, "lipschitz": "clip"}, ""),
        ("wgan", POINTS, {"width": 8}, "--width 8 has no effect on points"),
        ("wgan", IMAGES, {"hidden": (8,)}, "--hidden 8 has no effect with convolutions"),
        ("wgan", IMAGES, {"hidden": (8,), "net": "mlp"}, ""),
        ("gan", IMAGES, {"momentum": 0.9}, "--momentum 0.9 has no effect with --optimizer adam"),
        ("gan", IMAGES, {"momentum": 0.9, "optimizer": "sgd"}, ""),
        ("gan", POINTS, {"flip": True}, "--flip yes has no effect on points"),
        ("gan", IMAGES, {"lr_gamma": 0.5}, "--lr-gamma 0.5 has no effect without --lr-milestones"),
    ],
)
def test_an_option_without_effect_is_one_sentence(
    model: str, data: DataSpec, options: dict[str, Any], named: str
) -> None:
    found = without_effect(from_options(model, options), data)
    assert [s.startswith(named) for s in found] == ([True] if named else []), found
    assert without_effect(from_options(model, {}), data) == []


def test_that_sentence_is_heard_and_training_goes_on(cli: Cli) -> None:
    result = cli("train", "vae", *SMALL, "--steps", 1, "--likelihood", "none", "--beta", 4)
    assert result.code == 0, result.err
    assert "warning: --beta 4 has no effect with --likelihood none" in result.err


def test_a_logger_without_its_package_is_told_before_the_run_exists(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gentool_tensorboard.find_spec", lambda name: None)
    result = cli("train", "vae", *SMALL, "--steps", 1, "--log", "tensorboard")
    assert result.code == 2 and "pip install 'gentool[tensorboard]'" in result.err
    assert not (tmp_path / "runs").exists()
