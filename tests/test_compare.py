"""Runs side by side: groups over seeds, numbers, tables for papers, curves, and pruning."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result
from PIL import Image

from gentool.compare import groups, plot, read, table

Cli = Callable[..., Result]


def make(path: Path, seed: int, lr: float, losses: list[float], **more: Any) -> Path:
    """A run as training leaves it, without the training."""
    path.mkdir(parents=True)
    config = {
        "model": "vae",
        "config": {"lr": lr, "hidden": [16, 8]},
        "settings": {"seed": seed, "batch_size": 10, "epochs": len(losses), **more},
        "data_options": {"data": "glyphs"},
    }
    (path / "config.json").write_text(json.dumps(config))
    rows = []
    for i, loss in enumerate(losses):
        at = {"epoch": i + 1, "step": 20 * (i + 1)}
        rows += [
            {**at, "split": "train", "loss": loss - 1, "examples_per_s": 100.0},
            {**at, "split": "test", "loss": loss, "kl": 2.0},
        ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judge(run: Path, fid: float, n: int = 100) -> None:
    (run / "results").mkdir(exist_ok=True)
    record = {
        "values": {"fid": {"mean": fid, "better": "lower", "metric": "fid"}},
        "settings": {"n": n},
        "features": {"name": "random", "hash": "abc"},
    }
    (run / "results" / f"evaluate-{n}.json").write_text(json.dumps(record))


@pytest.fixture
def six(tmp_path: Path) -> list[Path]:
    """Two settings with three seeds each."""
    made = []
    for lr, offset in ((1e-3, 0.0), (1e-4, 10.0)):
        for seed in range(3):
            run = make(tmp_path / f"lr{lr:g}-{seed}", seed, lr, [50 + offset, 40 + offset + seed])
            judge(run, 5 + offset + seed)
            made.append(run)
    return made


def test_runs_that_differ_by_seed_are_one_row(cli: Cli, six: list[Path]) -> None:
    found = json.loads(cli("runs", "compare", *six, "--json").out)
    assert [one["options"] for one in found] == [{"lr": "0.001"}, {"lr": "0.0001"}]
    assert [one["seeds"] for one in found] == [[0, 1, 2], [0, 1, 2]]
    for one, losses in zip(found, ([40, 41, 42], [50, 51, 52]), strict=True):
        value = one["values"]["loss"]
        assert value["values"] == losses and value["n"] == 3
        assert value["mean"] == statistics.fmean(losses)
        assert value["deviation"] == statistics.stdev(losses)
        assert one["values"]["fid"]["mean"] == losses[1] - 35
    shown = cli("runs", "compare", *six, "--metric", "loss,fid")
    assert shown.code == 0 and "41.0 ± 1.0" in shown.out and "lr" in shown.out, shown.out


def test_csv_holds_the_numbers(cli: Cli, six: list[Path]) -> None:
    result = cli("runs", "compare", *six, "--csv", "--metric", "loss")
    first, *rows = csv.reader(io.StringIO(result.out))
    assert first == ["lr", "seeds", "loss mean", "loss deviation", "loss n"]
    assert rows == [["0.001", "3", "41.0", "1.0", "3"], ["0.0001", "3", "51.0", "1.0", "3"]]


def test_latex_is_a_table_of_booktabs(cli: Cli, six: list[Path]) -> None:
    text = cli("runs", "compare", *six, "--latex", "--metric", "fid,loss").out
    assert text.splitlines() == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"lr & seeds & fid & loss \\",
        r"\midrule",
        r"0.001 & 3 & $\mathbf{6.0 \pm 1.0}$ & $41.0 \pm 1.0$ \\",
        r"0.0001 & 3 & $16.0 \pm 1.0$ & $51.0 \pm 1.0$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_curves_have_bands_and_lines(cli: Cli, six: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    result = cli("runs", "compare", *six, "--png", out, "--metric", "loss,fid", "--x", "epoch")
    assert result.code == 0, result.err
    with Image.open(out) as image:
        with_bands = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(with_bands, axis=0)) > 20
    lines = cli("runs", "curves", *six, "--x", "time", "--out", tmp_path / "b.png")
    assert lines.code == 0 and lines.out.strip().endswith("b.png"), lines.err
    nothing = cli("runs", "compare", *six, "--png", out, "--metric", "fid")
    assert nothing.code == 2 and "has a curve" in nothing.err


def test_a_band_is_the_samples_deviation(six: list[Path]) -> None:
    members = read.find(six[:3])
    curves = [read.curve(m, "loss", "step") for m in members]
    assert curves[1] == [(20.0, 50.0), (40.0, 41.0)]
    places, means, deviations = plot.band(curves)
    assert places.tolist() == [20, 40] and means.tolist() == [50, 41]
    assert deviations.tolist() == [0, 1]
    # Curves that end at other places are compared where all of them are.
    short = [[(0.0, 0.0), (10.0, 10.0)], [(5.0, 7.0), (20.0, 22.0)]]
    places, means, _ = plot.band([short[1], short[0]])
    assert places.tolist() == [5] and means.tolist() == [6]
    # 20 batches of 10 examples at 100 examples a second.
    assert [x for x, _ in read.curve(members[0], "loss", "time")] == [2.0, 4.0]


def test_what_makes_numbers_less_comparable_is_told(cli: Cli, tmp_path: Path) -> None:
    a = make(tmp_path / "a", 0, 1e-3, [3.0, 2.0])
    b = make(tmp_path / "b", 0, 1e-3, [3.0], epochs=2)
    judge(a, 1.0)
    judge(b, 2.0, n=50)
    said = cli("runs", "compare", a, b, "--metric", "fid").err
    assert "different steps" in said and "a seed twice" in said and "different ways" in said


def test_a_sweep_stands_for_its_runs(cli: Cli) -> None:
    small = ("--data", "glyphs:200", "--hidden", 8, "--sample-every", 0, "--device", "cpu")
    done = cli("train", "vae", *small, "--steps", 3, "--seeds", "0-1", "--out", "runs/two")
    assert done.code == 0, done.err
    (one,) = json.loads(cli("runs", "compare", "two", "--json").out)
    assert one["seeds"] == [0, 1] and one["options"] == {}
    assert cli("runs", "compare", "two", "--json", "--csv").code == 2
    unknown = cli("runs", "compare", "two", "--metric", "los")
    assert unknown.code == 2 and "did you mean 'loss'" in unknown.err

    # Only finished runs are pruned, and only after asking.
    ask = cli("runs", "prune", "two")
    assert ask.code == 2 and "--yes" in ask.err and list(Path("runs/two").glob("*/state/step-*"))
    model = (Path("runs/two/seed=0") / "model.safetensors").read_bytes()
    freed = cli("runs", "prune", "--yes")
    assert freed.code == 0 and "freed" in freed.out, freed.err
    assert not list(Path("runs/two").glob("*/state/step-*"))
    assert (Path("runs/two/seed=0") / "model.safetensors").read_bytes() == model
    assert cli("sample", "runs/two/seed=0", "--n", 4, "--out", "x.png").code == 0
    assert "no checkpoint to free" in cli("runs", "prune", "--yes").err


def test_what_can_be_resumed_is_never_pruned(cli: Cli) -> None:
    small = ("--data", "glyphs:200", "--hidden", 8, "--sample-every", 0, "--device", "cpu")
    cli("train", "vae", *small, "--epochs", 50, "--max-time", "0.001", "--out", "runs/half")
    kept = sorted(Path("runs/half/state").iterdir())
    result = cli("runs", "prune", "--yes")
    assert "left alone: runs/half: it is stopped" in result.err, result.err
    assert sorted(Path("runs/half/state").iterdir()) == kept
    assert cli("resume", "runs/half", "--epochs", 51, "--max-time", "0.01").code == 0


HOSTILE = r"\input{/etc/passwd} $x$ & % # _ ~ ^ <script> =1+1"


def test_names_of_others_are_harmless(cli: Cli, tmp_path: Path) -> None:
    a, b = (make(tmp_path / n, 0, 1e-3, [1.0]) for n in "ab")
    for run, data in ((a, HOSTILE), (b, "=cmd|' /C calc'!A0")):
        config = json.loads((run / "config.json").read_text())
        config["data_options"]["data"] = data
        (run / "config.json").write_text(json.dumps(config))
    latex = cli("runs", "compare", a, b, "--latex").out
    assert r"\textbackslash{}input\{" in latex and r"\$x\$ \& \% \# \_" in latex
    assert "'=cmd" in cli("runs", "compare", a, b, "--csv").out
    assert cli("runs", "compare", a, b, "--png", tmp_path / "x.png").code == 0
    # Rows and records that are no rows and records are left out.
    (a / "metrics.jsonl").write_text('{"step": 1}\n[]\n{"step": 2, "split": "test", "loss": 3.0}\n')
    (a / "results").mkdir()
    for i, text in enumerate(("[]", "{", '{"values": []}', '{"values": {"x": 3, "y": {}}}')):
        (a / "results" / f"evaluate-{i}.json").write_text(text)
    assert read.find([a])[0].values == {"loss": 3.0}


@pytest.mark.parametrize(
    ("mean", "spread", "shown"),
    [
        (41.0, 1.0, "41.0 ± 1.0"),
        (105.234, 0.0234, "105.234 ± 0.023"),
        (12345.6, 234.5, "12346 ± 234"),
        (0.00123, None, "0.00123"),
        (3.0, 0.0, "3 ± 0"),
        (1.2e-15, 3e-16, "1.200e-15 ± 3.0e-16"),
    ],
)
def test_digits_follow_the_deviation(mean: float, spread: float | None, shown: str) -> None:
    assert table.number((mean, spread, 3)) == shown
    assert groups.MOST_METRICS > 1
