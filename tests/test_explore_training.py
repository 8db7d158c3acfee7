"""The explorer's view of a training, and the snapshots that `--keep-history` keeps for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer import exploring, run_line
from safetensors.torch import load_file

import gentool
from gentool.explore.tabs import training

RING = ("wgan", "--data", "ring", "--steps", 6, "--keep-history", 3)
VAE = ("vae", "--data", "glyphs:200", "--hidden", 8, "--latent-dim", 2, "--epochs", 2)


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all((one[key] == other[key]).all() for key in one)


@pytest.mark.slow
def test_snapshots_are_models_and_change_nothing(
    trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    run = trained("kept", *RING)
    plain = trained("plain", *RING[:-2])
    names = sorted(path.name for path in (run / "history").iterdir())
    assert names == [f"{step:06d}.safetensors" for step in (0, 2, 4, 6)]
    assert not (plain / "history").exists()
    assert (run / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    (state,) = (run / "state").glob("step-000000006")
    assert_equal(load_file(state / "weights.safetensors"), load_file(run / "history" / names[-1]))
    first = load_file(run / "history" / names[0])
    assert any(
        (value != load_file(run / "model.safetensors")[key]).any() for key, value in first.items()
    )
    result = cli("resume", "kept", "--steps", 8)
    assert result.code == 0, result.err
    assert (run / "history" / "000008.safetensors").is_file()


@pytest.mark.slow
def test_the_line_of_a_frame_makes_it_again(
    trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("ring", *RING)
    trained("vae", *VAE, "--keep-history", 2)
    with exploring("ring", "vae") as client:
        found = client.ask("training/frames").facts["frames"]
        assert [one["step"] for one in found] == [0, 2, 4, 6, None]
        for one in found[:2]:
            answer = client.ask("training/frame", **one, seed=3)
            run_line(cli, answer.command, "--force")
            assert (np.load("points.npz")["x"] == answer.parts[0]).all()
        for one in client.ask("training/frames", run=1).facts["frames"]:
            answer = client.ask("training/frame", run=1, **one, seed=2)
            if one["kind"] != "picture":
                run_line(cli, answer.command, "--force")
                assert Path("samples.png").read_bytes() == answer.parts[0]
            else:
                name = f"{one['step']:06d}.png"
                assert (Path("vae") / "samples" / name).read_bytes() == answer.parts[0]
        failures = [{"kind": "history", "step": 1}, {"kind": "picture", "step": 10**9}]
        failures += [{"kind": "picture", "step": -1}, {"kind": "../x"}]
        for question in failures:
            assert client.failure("training/frame", run=1, **question)


def test_the_arrows_are_the_gradient_of_the_landscape(trained: Callable[..., Path]) -> None:
    trained("ring", *RING)
    with exploring("ring") as client:
        answer = client.ask("training/frame", kind="history", step=6)
    _, _, field, begin, along = answer.parts
    left, right, bottom, top = answer.facts["extent"]
    model = gentool.load("ring/history/000006.safetensors").model.double()
    x, d = torch.from_numpy(begin.copy()).double(), 1e-6
    with torch.no_grad():
        for axis in (0, 1):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = d
            rise = (model.score(x + shift) - model.score(x - shift)) / (2 * d)  # type: ignore[operator]
            assert np.allclose(rise.flatten(), along[:, axis], rtol=1e-3, atol=1e-3)
        corners = torch.tensor([[right, bottom], [left, top]], dtype=torch.float64)
        below, above = model.score(corners).flatten().tolist()  # type: ignore[operator]
    # A critic is known up to a constant.
    assert field[0, -1] - field[-1, 0] == pytest.approx(below - above, rel=1e-3, abs=1e-4)
    assert left < right and bottom < top


def test_curves_follow_a_run_while_it_trains(trained: Callable[..., Path]) -> None:
    run = trained("vae", *VAE)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    with exploring("vae") as client:
        found = client.ask("training/curves").facts
        wanted = [row["loss"] for row in rows if row["split"] == "train"]
        assert found["series"]["loss"]["train"][1] == wanted
        again = client.ask("training/curves", version=found["version"]).facts
        assert again["same"] is True
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 3, "step": 99, "split": "train", "loss": 1.5}\n')
            file.write('{"epoch": 3, "step": 99, "split": "warning", "warning": "look"}\n{"st')
        newer = client.ask("training/curves", version=found["version"]).facts
        steps, values = newer["series"]["loss"]["train"]
        assert (steps[-1], values[-1]) == (99, 1.5) and newer["warnings"][-1] == "look"


def test_long_curves_are_thinned_and_end_where_they_end() -> None:
    steps = list(map(float, range(10_007)))
    thin = training._thinned(steps, steps)
    assert len(thin[0]) <= training.MOST_POINTS and thin[0][-1] == 10_006


def test_a_newer_model_of_a_run_is_taken_up(trained: Callable[..., Path]) -> None:
    run = trained("vae", *VAE)
    other = trained("other", *VAE, "--seed", 5)
    model = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()
    with exploring("vae") as client:
        facts = client.ask("info").facts["runs"][0]
        assert facts["tabs"] == ["training"]
        (run / "model.safetensors").write_bytes(model)
        assert "samples" in client.ask("info").facts["runs"][0]["tabs"]
        before = client.ask("samples/grid", n=4).parts[0]
        shutil.copy(other / "model.safetensors", "new")
        Path("new").replace(run / "model.safetensors")
        assert client.ask("samples/grid", n=4).parts[0] != before
