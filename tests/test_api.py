"""gentool from Python: the pages' examples run, and the API is what the command line does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result

import gentool

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"data": "glyphs:256", "hidden": (16,), "latent_dim": 2, "steps": 4, "seed": 3}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
def test_the_examples_of_the_page_run(here: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    script = "\n".join(blocks)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "runs/vae-glyphs-001" in done.stdout and "did you mean 'latent_dim'" in done.stdout
    assert len(blocks) >= 5 and not names


def test_importing_gentool_imports_neither_torch_nor_numpy() -> None:
    script = "import gentool, sys; sys.exit(bool({'torch', 'numpy', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.slow
def test_the_same_run_as_from_the_command_line(here: Path, cli: Callable[..., Result]) -> None:
    run = gentool.train("vae", out=here / "a", **SMALL)
    options = ("--data", "glyphs:256", "--hidden", "16", "--latent-dim", "2", "--steps", "4")
    assert cli("train", "vae", *options, "--seed", "3", "--out", here / "b").code == 0
    for name in ("model.safetensors", "config.json"):
        assert (run.path / name).read_bytes() == (here / "b" / name).read_bytes()


def test_train_resume_evaluate_load(here: Path) -> None:
    run = gentool.train("vae", **SMALL)
    assert run.path == Path("runs/vae-glyphs-001")
    assert [row["step"] for row in run.metrics("train")] == [2, 4]
    assert run.samples() and all(p.suffix == ".png" for p in run.samples())
    more = gentool.resume(run, steps=6)
    assert more.path.resolve() == run.path.resolve() and more.metrics("train")[-1]["step"] == 6
    record = gentool.evaluate(run, metrics=["elbo"])
    assert record["values"]["neg_elbo"]["mean"] == pytest.approx(
        run.metrics("test")[-1]["neg_elbo"], rel=0.01
    )
    both = gentool.evaluate([run, run.path], metrics=["elbo"])
    assert [r["values"] for r in both] == [record["values"]] * 2
    images = gentool.load(run).sample(5)
    assert isinstance(images, torch.Tensor) and images.shape == (5, 1, 28, 28)


def test_progress_is_called_instead_of_the_display(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[gentool.TrainProgress] = []
    gentool.train("vae", progress=seen.append, **SMALL)
    ends = [now for now in seen if now.rows is not None]
    assert [now.epoch for now in ends] == [1, 2] and ends[-1].step == ends[-1].total == 4
    assert set(ends[0].rows or ()) >= {"train", "test"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"latent_dims": 2}, "did you mean 'latent_dim'"),
        ({"latent_dim": 0}, "--latent-dim is 0"),
        ({"epochs": 1, "steps": 1}, "--epochs and --steps"),
        ({"lr": float("nan")}, "--lr is nan"),
        ({"hidden": "wide"}, "--hidden"),
        ({"data": "nosuch"}, "nosuch"),
    ],
    ids=str,
)
def test_mistakes_are_the_sentences_of_the_command_line(
    here: Path, values: dict[str, object], words: str
) -> None:
    with pytest.raises(gentool.UserError, match=re.escape(words)):
        gentool.train("vae", **values)
    assert not list(here.glob("runs/*"))


def test_unknown_runs_and_models(here: Path) -> None:
    with pytest.raises(gentool.UserError, match="did you mean 'vae'"):
        gentool.train("vea")
    for function in (gentool.resume, gentool.evaluate, gentool.load):
        with pytest.raises(gentool.UserError, match="there is no run"):
            function("a" * 5000)
    with pytest.raises(gentool.UserError, match="'ks'"):
        gentool.evaluate(gentool.train("vae", **SMALL), ks=3)


def test_runs_and_samples_show_themselves(here: Path) -> None:
    run = gentool.train("vae", **SMALL)
    assert (run._repr_png_() or b"").startswith(b"\x89PNG")
    page = run._repr_html_()
    assert "vae-glyphs-001" in page and "neg_elbo" in page and "data:image/png;base64" in page
    images = gentool.load(run).sample(4)
    assert (images._repr_png_() or b"").startswith(b"\x89PNG")
    assert (images[0]._repr_png_() or b"").startswith(b"\x89PNG")
    assert images.mean()._repr_png_() is None
    json.dumps(run.config())


def test_the_package_train_is_the_function_too() -> None:
    import gentool.train.settings

    assert callable(gentool.train) and gentool.train.settings.TrainSettings


@pytest.mark.slow
def test_what_scripts_hand_over(here: Path) -> None:
    run = gentool.train("vae", **{**SMALL, "hidden": [16]}, progress=lambda now: None)
    model = gentool.load(run)
    assert torch.equal(model.sample(2, seed=np.int64(3)), model.sample(2, seed=3))
    with pytest.raises(gentool.UserError, match="at least 1"):
        model.sample(0)
    with pytest.raises(gentool.UserError, match="--device 'gpu' is unknown"):
        gentool.load(run, "gpu")
    asked = {"n": np.int64(20), "metrics": "elbo", "data": Path("glyphs:256"), "k": 2}
    assert gentool.evaluate(run, **asked)["values"]["neg_elbo"]["mean"] > 0
    assert gentool.evaluate([], metrics="elbo") == []
    assert gentool.TrainedRun(str(run.path)).metrics() == run.metrics()


def test_what_cannot_be_meant_is_refused_before_a_run_is_made(here: Path) -> None:
    with pytest.raises(TypeError, match="progress"):
        gentool.train("vae", progress=False, **SMALL)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="named by text"):
        gentool.train(3, **SMALL)
    assert not list(here.glob("runs/*"))
