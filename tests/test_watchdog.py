"""Looks at samples: distances, modes, the best epoch of a game, and warnings that help."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import ToyConfig, ToyGame, trainer

from gentool import runs
from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset, Split
from gentool.likeness import sliced_wasserstein
from gentool.metrics.features import random_network
from gentool.metrics.frechet import frechet
from gentool.noise import Noise
from gentool.sampling import draw_samples
from gentool.train.copies import distance_ratio
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.train.watchdog import Watchdog
from gentool.weights import read_tensors

Cli = Callable[..., Any]
CPU = torch.device("cpu")


class Fixed(ToyGame):
    """Its samples are rows of given examples, whatever z is."""

    def __init__(self, dataset: Dataset, rows: Tensor) -> None:
        super().__init__(ToyConfig(), dataset.spec)
        self.rows, self.remedies = rows, {"collapse": "prayer", "memorised": "oblivion"}
        self.at = 0

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        taken = self.rows[(self.at + torch.arange(len(z))) % len(self.rows)]
        self.at += len(z)
        return taken


def points(tmp_path: Path, name: str = "ring:3000") -> Dataset:
    return load(DataOptions(data=name, cache=str(tmp_path / "cache")))


def images(tmp_path: Path, n: int = 600) -> Dataset:
    return load(DataOptions(data=f"glyphs:{n}", cache=str(tmp_path / "cache")))


def watch(model: ToyGame, dataset: Dataset, best: str = "", source: str = "") -> Watchdog:
    made = Watchdog(model, dataset, TrainSettings(epochs=100), CPU, best, source)
    made.begin(total=10_000, per_epoch=100, batch_size=100)
    return made


def test_the_distance_of_points_is_sliced_wasserstein_of_samples(tmp_path: Path) -> None:
    dataset = points(tmp_path)
    model = ToyGame(ToyConfig(), dataset.spec).eval()
    row = watch(model, dataset, "swd", "ring").look(10_000)
    spread = torch.arange(2000) * 3000 // 2000
    real = torch.from_numpy(dataset.train.x)[spread]
    assert row["swd"] == sliced_wasserstein(real, draw_samples(model, 2000, CPU), 64) > 0.1


def test_the_distance_of_images_is_that_of_evaluate(tmp_path: Path) -> None:
    dataset = images(tmp_path)
    model = ToyGame(ToyConfig(), dataset.spec).eval()
    state = torch.get_rng_state()
    found = watch(model, dataset, "frechet_random").look(10_000)["frechet_random"]
    assert torch.equal(state, torch.get_rng_state())  # a look leaves training's randomness alone
    network = random_network(*dataset.spec.shape, CPU)
    fake = draw_samples(model, 2000, CPU).mul(255)
    features = network(torch.from_numpy(dataset.train.x)), network(fake)
    assert found == pytest.approx(frechet(*features)["frechet"], rel=1e-4) and found > 1


def test_small_data_is_looked_at_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    dataset = points(tmp_path)
    looked = watch(ToyGame(ToyConfig(), dataset.spec).eval(), dataset, "swd")
    looks = [step for step in range(100, 1001, 100) if "swd" in looked.look(step)]
    assert looks == [200, 400, 600, 800, 1000]  # every 20,000 of examples
    looked.begin(total=30, per_epoch=100, batch_size=100)
    assert "swd" in looked.look(30) and looked._count(30) == 300


@pytest.mark.parametrize(("reached", "warned"), [(8, False), (7, False), (5, True)])
def test_modes_are_counted_and_missing_ones_told(
    tmp_path: Path, reached: int, warned: bool
) -> None:
    dataset = points(tmp_path)
    labels = torch.from_numpy(dataset.train.labels)
    rows = torch.from_numpy(dataset.train.x)[labels < reached]
    looked = watch(Fixed(dataset, rows), dataset, source="ring")
    row = looked.look(10_000)
    assert row["modes"] == reached and row["high_quality"] > 0.98
    told = looked.warnings({"train": {}, "samples": row}, 10_000)
    wanted = [f"the samples reach {reached} of 8 modes; try prayer"] if warned else []
    assert told == wanted
    assert "modes" not in watch(Fixed(dataset, rows), dataset, source="elsewhere").look(10_000)


def test_collapse_is_told_late_and_never_early(tmp_path: Path) -> None:
    dataset = images(tmp_path)
    same = torch.from_numpy(dataset.train.x[:1]).float() / 255
    looked = watch(Fixed(dataset, same), dataset)
    row = looked.look(100)
    assert row == {"diversity": 0.0}
    assert looked.warnings({"train": {}, "samples": row}, 100) == []
    (told,) = looked.warnings({"train": {}, "samples": row}, 2000)
    assert "collapsed" in told and told.endswith("; try prayer")


def test_copies_are_told_and_new_images_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (900, 1, 8, 8), dtype=np.uint8)
    known = images(tmp_path)
    spec = replace(known.spec, shape=(1, 8, 8))
    dataset = replace(known, train=Split(x[:600]), test=Split(x[600:800]), spec=spec)
    fresh, copies = (torch.from_numpy(part).float() / 255 for part in (x[800:], x[:100]))
    assert distance_ratio(fresh, dataset, CPU) == pytest.approx(1, abs=0.05)
    assert distance_ratio(copies, dataset, CPU) == pytest.approx(0, abs=1e-3)
    looked = watch(Fixed(dataset, copies), dataset)
    row = looked.look(10_000)
    (told,) = looked.warnings({"train": {}, "samples": row}, 10_000)
    assert "copies" in told and told.endswith("try oblivion")
    assert "distance_ratio" not in looked.look(9_900)


def test_few_images_are_told_of_at_the_start(tmp_path: Path) -> None:
    dataset = images(tmp_path, 1200)
    model = ToyGame(ToyConfig(), dataset.spec)
    assert watch(model, dataset).at_start() == []
    model.remedies = {"few": "--augment flip"}
    assert watch(model, dataset).at_start()[0].endswith("by heart; try --augment flip")
    assert "--flip" in watch(ToyGame(ToyConfig(), dataset.spec), images(tmp_path)).at_start()[0]


def test_a_game_keeps_its_best_epoch_and_both_its_weights(cli: Cli, tmp_path: Path) -> None:
    small = ("gan", "--data", "ring:20000", "--hidden", 8, "--threads", 1, "--lr", "0.05")
    kept = (*small, "--batch-size", 500, "--keep", 9, "--epochs", 6, "--out", "run")
    assert cli("train", *kept).code == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [row for line in lines if (row := json.loads(line))["split"] == "samples"]
    step = min(rows, key=lambda row: row["swd"])["step"]
    state = tmp_path / "run" / "state" / f"step-{step:09d}"
    best = read_tensors(tmp_path / "run" / "best.safetensors")
    for name, tensor in read_tensors(state / "average.safetensors").items():
        assert torch.equal(best[name], tensor)
    pictures = []
    for flags in ([], ["--raw"], ["--best"]):
        result = cli("sample", "run", "--out", f"{len(pictures)}.npz", *flags)
        assert result.code == 0
        pictures.append(np.load(tmp_path / f"{len(pictures)}.npz")["x"])
    raw = load_newest(tmp_path / "run" / "state").groups["weights"]
    last = read_tensors(tmp_path / "run" / "model.safetensors")
    assert not torch.equal(raw["generator.0.weight"], last["generator.0.weight"])
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2]) == (step == rows[-1]["step"])


def test_best_and_raw_are_of_runs(cli: Cli, tmp_path: Path) -> None:
    small = ("gan", "--data", "ring:200", "--hidden", 8, "--threads", 1, "--judge-samples", 0)
    assert cli("train", *small, "--steps", 1, "--out", "run").code == 0
    for words, told in (
        (["run", "--best", "--raw"], "choose one"),
        (["run/model.safetensors", "--raw"], "is a file"),
        (["run", "--best"], "no best.safetensors"),
    ):
        result = cli("sample", *words)
        assert result.code == 2 and told in result.err


def test_settings_that_a_run_did_not_have_stay_off(cli: Cli, tmp_path: Path) -> None:
    """A run from before averages had a warm-up and samples were judged goes on as it began."""
    small = ("gan", "--data", "ring:2000", "--hidden", 8, "--threads", 1, "--ema", "0.9")
    off = ("--no-ema-warmup", "--judge-samples", 0)
    for name, steps in (("whole", 60), ("old", 30)):
        out = ("--steps", steps, "--out", name)
        assert cli("train", *small, *off, *out).code == 0
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    for later in ("ema_warmup", "judge_samples"):
        del config["settings"][later]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    assert cli("resume", "old", "--steps", 60).code == 0
    whole, old = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "old"))
    assert whole == old and not runs.Run(tmp_path / "old").best.exists()


def test_the_toy_trainer_ranks_by_the_distance(tmp_path: Path) -> None:
    made = trainer(tmp_path, TrainSettings(steps=3, sample_every=0))
    assert made.best_by == "swd"
