"""Training as graphs ends with the weights of training without: on a GPU, and with a stand-in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import toy
from test_graph import Recorder

from gentool import ops
from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset
from gentool.runs import Run
from gentool.train.graph import CapturedUpdate
from gentool.train.settings import TrainSettings

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = {
    "vae": {"hidden": [16]},
    "gan": {"hidden": [16, 16]},
    "dcgan": {"width": 4},
    "wgan": {"width": 4},
}


@pytest.fixture
def captured_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("captured_training")


@pytest.fixture
def glyphs(tmp_path: Path) -> Dataset:
    return load(DataOptions(data="glyphs:600", cache=str(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(9))
def test_recorded_updates_end_with_the_same_weights(
    case: int, captured_training: ModuleType, glyphs: Dataset
) -> None:
    """What a graph may not hold (a counter of the host, a fresh tensor kept) would show here."""
    name, changes = captured_training.CASES[case]
    found = captured_training.compare(
        name,
        {**changes, **TINY[name], "batch_size": 64},
        glyphs,
        torch.device("cpu"),
        steps=30,
        capture=lambda work: Recorder()(work),  # one a player
    )
    assert found.passed, found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.skipif(not ops.native.serves("cuda"), reason="needs native CUDA kernels")
@pytest.mark.parametrize("case", range(9))
def test_training_is_captured_on_a_gpu(
    case: int, captured_training: ModuleType, glyphs: Dataset
) -> None:
    name, changes = captured_training.CASES[case]
    found: Any = captured_training.compare(name, changes, glyphs, torch.device("cuda"))
    assert found.passed, found


@pytest.mark.slow
def test_what_is_not_captured_is_in_the_log_and_in_the_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = toy.trainer(tmp_path, TrainSettings(steps=35, batch_size=20, profile=True))
    for state in made.players:
        state.captured = CapturedUpdate(state.update_captured, Recorder(fails=True))
    made.fit()
    err = " ".join(capsys.readouterr().err.split())
    why = "operation not permitted when stream is capturing"
    rows = Run(tmp_path / "run").read_metrics()
    warned = [row["warning"] for row in rows if row["split"] == "warning"]
    assert len(made.players) == 2
    for state in made.players:
        told = f"{state.player.name} trains slower, without a CUDA graph: {why}"
        assert warned.count(told) == 1 and err.count(told) == 1
        assert f"{state.player.name}: not captured: {why}" in err
