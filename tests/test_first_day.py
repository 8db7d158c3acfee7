"""What people meet on their first day: what is said, refused and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool import console
from gentool.train import display
from gentool.train.display import TerminalDisplay, fitted

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
