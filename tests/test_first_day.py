"""What people meet on their first day: what is said, refused and kept."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result
from matplotlib.contour import ContourSet

import gentool
from gentool import console, recipefiles
from gentool.api import TrainedRun
from gentool.cli.done import say_done
from gentool.cli.main import main
from gentool.metrics.subjects import Subject, told_apart
from gentool.model import Model
from gentool.render import scatter
from gentool.runs import Run
from gentool.scoring import ScoreView
from gentool.spec import DataSpec
from gentool.train import again, display
from gentool.train.display import TerminalDisplay, fitted
from gentool.train.job import from_options, without_effect
from gentool.train.landscape import landscape, scale_of
from gentool.train.progress import TrainProgress

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


def test_a_recipe_is_named_from_anywhere_and_names_its_model(cli: Cli, tmp_path: Path) -> None:
    few = ("--data", "ring:600", "--steps", 2, "--threads", 1, "--sample-every", 0)
    result = cli("train", "--config", "gan-ring", *few, "--out", "run")
    assert result.code == 0, result.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"] == "gan" and config["config"]["hidden"] == [128, 128, 128]
    assert config["settings"]["steps"] == 2
    assert "did you mean 'gan-ring'" in cli("train", "--config", "gan-rnig").err
    assert "is for the model 'gan'" in cli("train", "vae", "--config=gan-ring").err
    (tmp_path / "mine.toml").write_text("lr = 0.1\n")
    assert "names no model" in cli("train", "--config", "mine.toml").err
    assert "name the model first" in cli("train", "--epochs", 3).err
    assert "--latent-dim" in cli("train", "--config", "gan-ring", "--help").out


def test_every_recipe_is_listed_and_shown(cli: Cli) -> None:
    listed = cli("recipes").out
    assert all(path.stem in listed for path in recipefiles.shipped())
    rows = json.loads(cli("recipes", "--json").out)
    assert len(rows) == len(recipefiles.shipped()) and all(row["source"] for row in rows)
    shown = cli("recipes", "gan-ring")
    assert shown.out == (recipefiles.folder() / "gan-ring.toml").read_text()
    assert "did you mean" in cli("recipes", "gan-rin").err


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("vae", {"epochs": 3, "sigma": 0.25, "hidden": (7, 9), "binarize": True}),
        ("vae", {"steps": 12, "condition": ("smile", "a, b"), "clip_grad": 1e-3}),
        ("wgan", {"lipschitz": "clip", "data": "a folder/with 'quotes'", "log": ("tensorboard",)}),
        ("gan", {"max_time": "1h", "cache": "/somewhere", "lr": 1e-05, "seed": 2**40}),
    ],
)
def test_a_job_is_trained_again_by_its_recipe_and_by_its_command(
    model: str, chosen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = from_options(model, chosen)
    file = tmp_path / "recipe.toml"
    file.write_text(again.recipe(job, {"torch": "2.13", "device": "cpu\n[evil]"}))
    dropped = {"max_time": None}
    settings = dataclasses.replace(job.settings, **dropped)
    data = dataclasses.replace(job.data_options, cache=None)
    expected = dataclasses.replace(job, settings=settings, data_options=data)
    assert from_options(model, {}, file) == expected
    taken: dict[str, Any] = {}
    monkeypatch.setattr(
        "gentool.api.train",
        lambda name, out, config, **values: taken.update(values) or SimpleNamespace(path="x"),
    )
    words = shlex.split(again.command(job))
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit):
        main()
    if "a, b" not in chosen.get("condition", ()):  # a list on the command line has no quotes
        assert from_options(words[2], taken) == expected


def test_a_run_holds_what_trains_it_again_bit_for_bit(
    cli: Cli, trained: Callable[..., Path]
) -> None:
    run = trained("run", "vae", *SMALL, "--epochs", 1)
    assert cli("train", "--config", "run/recipe.toml", "--out", "second").code == 0
    for name in ("model.safetensors", "recipe.toml"):
        assert (run / name).read_bytes() == Path("second", name).read_bytes()
    shown = cli("runs", "show", "run", "--toml")
    assert shown.out == (run / "recipe.toml").read_text()
    line = "gentool train vae --latent-dim 4 --hidden 16 --data glyphs:300 --epochs 1 --threads 1"
    assert f"#   {line}\n" in shown.out
    assert "recipe.toml" in (run / "README.md").read_text()


def test_a_kept_checkpoint_is_sampled_by_its_step(cli: Cli, trained: Callable[..., Path]) -> None:
    few = ("--data", "glyphs:128", "--hidden", "8", "--threads", 1, "--ema", "0.9", "--keep", 9)
    run = trained("run", "vae", *few, "--epochs", 3)
    shorter = trained("shorter", "vae", *few, "--epochs", 1)
    said = cli("sample", run, "--n", 4, "--step", 1)
    assert said.code == 0 and said.out.strip() == f"{run}/sampled/n4-seed0-step-000000001.png"
    at = run / "state" / "step-000000001"
    expected = gentool.load(shorter).sample(3)  # the average after one epoch, whatever follows
    for path in (at, at / "average.safetensors"):
        assert torch.equal(gentool.load(path).sample(3), expected)
    raw = gentool.load(at / "weights.safetensors").sample(3)
    assert not torch.equal(raw, expected)
    assert "step 7; there are: 0, 1, 2, 3" in cli("sample", run, "--step", 7).err
    record = cli("evaluate", at, "--metrics", "elbo", "--n", 10)
    assert record.code == 0 and "run/step-000000001" in record.out, record.err


def test_the_best_model_of_a_run_knows_its_data(cli: Cli, trained: Callable[..., Path]) -> None:
    run = trained("run", "vae", *SMALL, "--epochs", 1)
    result = cli("evaluate", run / "best.safetensors", "--metrics", "elbo", "--n", 20)
    assert result.code == 0 and "run/best" in result.out, result.err


def test_points_are_drawn_over_the_data_they_are_like(
    cli: Cli, trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = scatter.draw_scatter
    monkeypatch.setattr(scatter, "draw_scatter", lambda x, **k: seen.append(k) or real(x, **k))
    run = trained("run", "gan", "--data", "ring:600", "--hidden", "8", "--steps", 2)
    assert cli("sample", run, "--n", 10).code == 0
    assert seen[-1]["real"].shape == (2500, 2)
    config = json.loads((run / "config.json").read_text())
    for name in ("/etc/passwd", "mnist", "nothing"):  # nothing that a run names is opened
        config["data_options"]["data"] = name
        (run / "config.json").write_text(json.dumps(config))
        assert cli("sample", run, "--n", 11).code == 0
        assert seen[-1]["real"] is None


def test_the_colours_of_a_landscape_mean_the_same_in_a_whole_run() -> None:
    frame = ((-1.0, 1.0), (-1.0, 1.0))
    for size in (0.1, 0.9, 5.0):
        field = np.full((3, 3), size)
        assert scale_of(ScoreView(range=(0, 1)), frame, field) == (0, 1)
        assert scale_of(ScoreView(slope=2.0), frame, field) == pytest.approx((-(8**0.5), 8**0.5))
    ends = [scale_of(ScoreView(), frame, np.full((3, 3), size)) for size in (0.6, 0.9, 1.1, 0.0)]
    assert ends == [(-1, 1), (-1, 1), (-2, 2), (-1, 1)]


class Distance(Model):
    """D(x) = sigmoid(1 − ‖x‖): it is ½ on the unit circle."""

    data = DataSpec("points", (2,))

    def score(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return 1 - x.norm(dim=1)

    def score_view(self) -> ScoreView:
        return ScoreView("D(x)", torch.sigmoid, range=(0, 1), middle=0.5)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_landscape_is_the_score_at_each_place(dims: int) -> None:
    real = np.array([[-2.0, -2.0], [2.0, 2.0]], np.float32)[:, :dims]
    found = landscape(Distance(), real, torch.device("cpu"))
    assert found is not None and found.ends == (0, 1)
    assert found.frame == ((-2.4, 2.4),) * dims
    axes = [np.linspace(*ends, n) for ends, n in zip(found.frame, found.field.shape, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    expected = 1 / (1 + np.exp(np.sqrt(sum(a**2 for a in grid)) - 1))
    assert np.abs(found.field - expected).max() < 1e-6
    figure = scatter.draw_scatter(real, real=real, landscape=found)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[:2] == ["data", "samples"] and "D(x) = ½" in texts
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "D(x)" in labels  # of the colour bar, or of the curve's own axis
    if dims == 2:  # the contour is the unit circle
        lines = [c for c in figure.axes[0].collections if isinstance(c, ContourSet)]
        path = lines[-1].get_paths()[0]
        assert np.abs(np.linalg.norm(path.vertices, axis=1) - 1).max() < 0.01


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    def subject(path: str) -> Subject:
        run = Run(tmp_path / path)
        return Subject(run.path.name, None, run.model, run)  # type: ignore[arg-type]

    names = [s.name for s in told_apart([subject(p) for p in ("a/run", "b/run", "b/other")])]
    assert names == ["a/run", "b/run", "other"]
    deeper = [s.name for s in told_apart([subject(p) for p in ("x/a/run", "y/a/run", "b/run")])]
    assert deeper == ["x/a/run", "y/a/run", "b/run"]
    same = [s.name for s in told_apart([subject("run"), subject("run")])]
    assert same[0] == same[1]  # one run, named twice
    assert told_apart([]) == []


def test_json_is_one_shape_for_one_run_and_many(cli: Cli, trained: Callable[..., Path]) -> None:
    trained("a/run", "vae", *SMALL, "--epochs", 1)
    trained("b/run", "vae", *SMALL, "--epochs", 1)
    few = ("--metrics", "elbo", "--n", 20, "--json")
    one, two = (
        json.loads(cli("evaluate", *runs, *few).out) for runs in (["a/run"], ["a/run", "b/run"])
    )
    assert [r["model"]["run"] for r in one] == ["run"]
    assert [r["model"]["run"] for r in two] == ["a/run", "b/run"]
    assert one[0]["values"] == two[0]["values"]


def test_hints_can_be_typed_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "an env" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "gentool"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert console.program() == "'an env/bin/gentool'"
    say_done(TrainedRun(Path("a run")))
    assert "'an env/bin/gentool' sample 'a run' --n 64" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(folder))
    assert console.program() == "gentool" and console.program("python") == "python"
    (folder / "gentool").unlink()
    assert console.program() == "gentool"  # installed elsewhere


def test_curves_film_and_card_are_there_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gentool.train.recorder.SUMMARY_EVERY", 0.0)
    monkeypatch.setattr("gentool.train.recorder.SUMMARY_SHARE", 1e9)
    run, seen = tmp_path / "run", []

    def look(now: TrainProgress) -> None:
        if now.rows is not None:
            names = ("curves.png", "README.md", "samples.gif")
            seen.append([name for name in names if (run / name).exists()])

    small = {"data": "glyphs:64", "hidden": (8,), "threads": 1, "epochs": 4}
    gentool.train("vae", out=run, progress=look, **small)
    # Of the epoch before: a curve takes two points, and a film three pictures, of which the first
    # is drawn before training.
    all_three = ["curves.png", "README.md", "samples.gif"]
    assert seen == [[], ["README.md"], all_three, all_three]


def test_help_reads_well(cli: Cli) -> None:
    shown = cli("train", "dcgan", "--help").out
    assert "Radford et al.." not in shown and "e+" not in shown and "<str>" not in shown
    joined = " ".join(shown.split())
    assert "at most 2^63 - 1" in joined and "at most 1,000,000,000" in joined
