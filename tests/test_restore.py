"""Restoring by use: a VAE's protocols, the verb from image to picture, a newcomer's mistakes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import gentool
from gentool.cli.main import app
from gentool.errors import UserError
from gentool.model import Explains, Infers
from gentool.restore.maximum import maximise
from gentool.restore.posterior import Schedule
from gentool.restore.restorable import RestorableModel
from gentool.restore.target import Target
from gentool.train.stopping import Stopped, StopRequest

FEW = "--warmup 20 --draws 12 --chains 2"


def run(line: str) -> tuple[int, str]:
    """Run a verb; (exit code, stdout or the error's sentence)."""
    found = CliRunner().invoke(app, shlex.split(line))
    if isinstance(found.exception, UserError):
        return 2, str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE on glyphs, a DCGAN on coloured faces and a GAN on points, barely trained."""
    path = tmp_path_factory.mktemp("restore")
    lines = [
        "train vae --data glyphs:400 --hidden 32 --latent-dim 4 --steps 60",
        "train dcgan --data faces:60 --size 16 --width 4 --latent-dim 6 --steps 2",
        "train gan --data ring:200 --hidden 8 --latent-dim 2 --steps 2",
    ]
    for name, line in zip(("vae", "colour", "points"), lines, strict=True):
        code, _ = run(f"{line} --sample-every 0 --out {path / name} --cache {path / 'cache'}")
        assert code == 0
    return path


@pytest.fixture(scope="module")
def vae(folder: Path) -> RestorableModel:
    return gentool.load(folder / "vae")


@pytest.mark.slow
def test_a_vae_explains_each_value(vae: RestorableModel) -> None:
    model = vae.model
    assert isinstance(model, Explains) and isinstance(model, Infers)
    x, z = torch.rand(5, *model.data.shape), torch.randn(5, 4)
    mean = model.sample(z)
    expected = torch.distributions.Bernoulli(mean, validate_args=False).log_prob(x)
    torch.testing.assert_close(model.explain(x, z), expected, rtol=1e-3, atol=1e-4)
    mu, logvar = model.infer(x)
    assert torch.equal(mu, model.encode(x)) and mu.shape == logvar.shape == (5, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    ["--likelihood gaussian", "--likelihood gaussian --sigma network",
     "--likelihood continuous-bernoulli", "--likelihood gaussian --data ring:100"],
)  # fmt: skip
def test_values_add_up_to_the_likelihood(options: str, tmp_path: Path) -> None:
    line = "train vae --data glyphs:64 --hidden 8 --latent-dim 2 --steps 3 --sample-every 0"
    assert run(f"{line} {options} --out {tmp_path / 'run'} --cache {tmp_path}")[0] == 0
    model = gentool.load(tmp_path / "run").model
    x, z = torch.rand(6, *model.data.shape), torch.randn(6, 2)
    total = -model.nll(model.decode(z, None), model.inward(x))  # type: ignore[operator]
    each = model.explain(x, z)  # type: ignore[operator]
    assert each.shape == x.shape
    torch.testing.assert_close(each.flatten(1).sum(1), total, rtol=1e-4, atol=1e-3)


def test_from_python(vae: RestorableModel) -> None:
    x = vae.sample(3)
    seen = vae.spoil(x, "missing:bottom")
    found = vae.restore(seen.y, "missing:bottom", samples=5, schedule=Schedule(2, 30, 20))
    assert found.samples.shape == (3, 5, *x.shape[1:]) and found.exact and found.draws is not None
    assert found.mean.shape == found.std.shape == x.shape
    kept = seen.operator.measured
    assert torch.equal(found.samples[:, :, kept], x[:, None][:, :, kept].expand(-1, 5, -1))
    assert not found.std[:, kept].any() and found.std[:, ~kept].max() > 0
    decoded = vae.sample(5, z=found.z[1])
    torch.testing.assert_close(decoded[:, ~kept], found.samples[1][:, ~kept])


def test_the_maximum_of_the_exact_likelihood(vae: RestorableModel) -> None:
    """What the search reports is log p(y|z) + log p(z) of the latents that it returns."""
    x = vae.sample(2)
    target = Target(vae.model, vae.spoil(x, "missing:right"))
    found = maximise(target)
    best = found.z[torch.arange(2), found.best]
    each = vae.model.explain(x, best)  # type: ignore[operator]
    value = torch.where(target.measured, each, 0).flatten(1).sum(1) - 0.5 * best.square().sum(1)
    torch.testing.assert_close(found.log_posterior.max(1).values, value.detach(), atol=1e-2, rtol=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):  # a maximum: no small step leads higher
        near = best + 0.05 * torch.randn(best.shape, generator=generator)
        there = torch.where(target.measured, vae.model.explain(x, near), 0)  # type: ignore[operator]
        assert (there.flatten(1).sum(1) - 0.5 * near.square().sum(1) <= value + 1e-2).all()


def test_the_verb_writes_picture_and_numbers(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.png"
    code, text = run(
        f"restore {folder / 'vae'} test:0-2 --missing left --samples 3 {FEW} --json --out {out}"
    )
    facts = json.loads(text)
    assert code == 0 and facts["sampler"] == "hmc" and len(facts["images"]) == 3
    assert {"error", "rhat", "effective", "acceptance", "deviation"} <= facts["images"][0].keys()
    assert any("not the posterior yet" in note for note in facts["notes"])
    arrays = np.load(tmp_path / "r.npz")
    assert arrays["samples"].shape[:2] == (3, 3) and arrays["chains"].shape[:3] == (3, 2, 12)
    error = ((arrays["mean"] - arrays["truth"]) ** 2).mean((1, 2, 3))
    assert error == pytest.approx([one["error"] for one in facts["images"]], rel=1e-4)
    assert Image.open(out).size[0] > 500
    assert run(f"restore {folder / 'vae'} test:0 --missing left {FEW} --out {out}")[0] == 2


@pytest.mark.parametrize("how", ["--sampler slice", "--sampler gibbs", "--method map --restarts 2"])
def test_every_way(how: str, folder: Path, tmp_path: Path) -> None:
    line = f"restore {folder / 'vae'} --data glyphs:400 --n 2 --missing random:0.4"
    code, text = run(f"{line} {FEW} {how} --json --out {tmp_path / 'r.npz'}")
    assert code == 0 and len(json.loads(text)["images"]) == 2
    assert (tmp_path / "r.png").is_file() and (tmp_path / "r.npz").is_file()


def test_image_files_small_grey_and_with_holes(folder: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / "small.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    line = f"restore {folder / 'colour'} {tmp_path / 'small.png'} --grey --scale 2 --noise 0.2"
    where = f"--missing {tmp_path / 'mask.png'} --out {tmp_path / 'r.png'}"
    code, text = run(f"{line} {where} {FEW} --json")
    facts = json.loads(text)
    assert code == 0 and "error" not in facts["images"][0]
    assert np.load(tmp_path / "r.npz")["samples"].shape == (1, 8, 3, 16, 16)


def test_ctrl_c_writes_what_there_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped("stopped by SIGINT", 130)
    steps = iter(range(10_000))
    monkeypatch.setattr(StopRequest, "pending", lambda self: stopped if next(steps) > 30 else None)
    line = f"restore {folder / 'vae'} test:0-1 --missing left --warmup 20 --draws 100000"
    found = CliRunner().invoke(app, shlex.split(f"{line} --json --out {tmp_path / 'r.png'}"))
    assert found.exception is stopped
    assert any("stopped early" in note for note in json.loads(found.stdout)["notes"])
    assert 1 < np.load(tmp_path / "r.npz")["chains"].shape[2] < 20


def test_nothing_left_samples_the_prior_and_says_so(folder: Path, tmp_path: Path) -> None:
    line = f"restore {folder / 'vae'} test:0 --missing random:1 {FEW} --json"
    code, text = run(f"{line} --out {tmp_path / 'r.png'}")
    assert code == 0 and any("prior" in note for note in json.loads(text)["notes"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files")
    Image.new("RGB", (28, 28), "red").save(path / "red.png")
    Image.new("L", (28, 28)).save(path / "grey.png")
    Image.new("L", (16, 16)).save(path / "grey16.png")
    Image.new("L", (5, 5)).save(path / "tiny.png")
    (path / "text.png").write_text("hello")
    return path


MISTAKES = [
    ("vae", "{f}/grey.png", "say what is wrong"),
    ("vae", "{f}/grey.png --missing {f}/tiny.png", "the mask .* is 5x5"),
    ("vae", "{f}/tiny.png --missing left", "is 5x5 pixels .* 28x28"),
    ("vae", "{f}/grey.png --scale 3", "does not divide images of 28x28 .* 2, 4, 7"),
    ("vae", "{f}/grey.png --scale 4", "is 28x28 pixels .* 7x7"),
    ("vae", "{f}/red.png --missing left", "in colour"),
    ("vae", "{f}/text.png --missing left", "text file"),
    ("vae", "{f}/none.png --missing left", "no such file"),
    ("vae", "{f}/grey.png --grey", "colour images, and this model"),
    ("vae", "{f}/grey.png --measure 10", "--degrade"),
    ("vae", "seed:3 --missing left", "no images"),
    ("vae", "--missing left", "name an image"),
    ("vae", "{f}/grey.png test:0 --missing left", "--degrade"),
    ("vae", "test:0 --missing left --noise 0", "--noise"),
    ("vae", "test:0 --missing left --sampler nuts", "none of auto, hmc"),
    ("vae", "test:0 --scale 2 --sampler gibbs", "Metropolis-within-Gibbs is for missing"),
    ("vae", "test:0 --operator blur:3", "no operator 'blur'"),
    ("vae", "test:0 --missing left --class 3", "not class-conditional"),
    ("vae", "test:0 --missing left --out x.txt", "neither a picture.png nor"),
    ("colour", "{f}/grey16.png --missing left", "is grey, but .* --grey"),
    ("points", "test:0 --missing left", "makes points"),
]


@pytest.mark.parametrize(("model", "rest", "part"), MISTAKES)
def test_mistakes_are_one_sentence(
    model: str, rest: str, part: str, folder: Path, files: Path
) -> None:
    code, sentence = run(f"restore {folder / model} {rest.format(f=files)} {FEW}")
    assert code == 2 and "\n" not in sentence
    assert re.search(part, sentence), sentence
