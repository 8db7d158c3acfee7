"""Models that are told attributes: what they are given, that they obey, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gentool import options
from gentool.data import DataOptions, load
from gentool.errors import UserError
from gentool.model import Batch, Model, conditioned, in_turn
from gentool.noise import sampling_noise
from gentool.plugins import find, spec_of
from gentool.sampling import attribute_values, draw_samples
from gentool.spec import Attribute, DataSpec
from gentool.train.job import build_model

SMILE, MALE = Attribute("smile"), Attribute("male")
AGE = Attribute("age", "continuous", mean=40.0, scale=10.0)
FACES = DataSpec("image", (1, 8, 8), attributes=(SMILE, AGE, MALE))


class Told(Model):
    """Nothing but its condition."""

    def __init__(self, names: tuple[str, ...], data: DataSpec = FACES) -> None:
        super().__init__()
        self.data = data
        self.classes, self.condition = conditioned(False, names, data)


def test_a_model_is_given_its_own_columns() -> None:
    values = torch.randn(5, 3)
    batch = Batch(torch.empty(5, 1), attributes=values)
    assert torch.equal(Told(("male", "age")).given(batch), values[:, [2, 1]])  # type: ignore[arg-type]
    assert Told(()).given(batch) is None
    with pytest.raises(ValueError, match="has none"):
        Told(("age",)).given(Batch(torch.empty(5, 1)))


def test_in_turn_counts_up_in_binary_and_keeps_the_mean() -> None:
    found = in_turn((SMILE, AGE, MALE), 5)
    assert found.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]]


def test_values_are_set_in_their_own_units() -> None:
    found = attribute_values(Told(("smile", "age", "male")), {"age": 55.0, "male": 1.0}, 3)
    assert found.tolist() == [[0, 1.5, 1], [1, 1.5, 1], [0, 1.5, 1]]
    with pytest.raises(UserError, match="0 or 1"):
        attribute_values(Told(("smile",)), {"smile": 0.5}, 3)
    with pytest.raises(UserError, match="did you mean 'smile'"):
        attribute_values(Told(("smile",)), {"smiel": 1}, 3)


@pytest.mark.parametrize(
    ("conditional", "condition", "data", "said"),
    [
        (True, None, FACES, "needs data with labels.*for --condition: smile, age, male"),
        (False, ("smil",), FACES, "did you mean 'smile'"),
        (False, ("smile",), DataSpec("points", (2,)), "this data has none"),
        (True, ("smile",), dataclasses.replace(FACES, classes=("a", "b")), "exclude each other"),
    ],
)
def test_what_the_data_cannot_say_is_refused(
    conditional: bool, condition: tuple[str, ...] | None, data: DataSpec, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        conditioned(conditional, condition, data)


def dark_and_bright(path: Path, n: int = 400) -> str:
    """Images whose brightness is known from their attributes: 40 + 120·bright, and some of `tint`.

    A third attribute says nothing of the image.
    """
    rng = np.random.default_rng(0)
    table = np.stack([rng.random(n) < 0.5, rng.normal(30, 5, n), rng.random(n) < 0.5], 1)
    level = 40 + 120 * table[:, 0] + 6 * (table[:, 1] - 30)
    x = level[:, None, None] + rng.normal(0, 6, (n, 8, 8))
    names = np.array(["bright", "tint", "noise"])
    np.savez(path, x=x.clip(0, 255).astype(np.uint8), attributes=table, attribute_names=names)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("vae", ["--hidden", "32", "--latent-dim", "2", "--steps", "400"]),
        ("vae", ["--net", "conv", "--width", "8", "--latent-dim", "2", "--steps", "600"]),
        ("gan", ["--hidden", "64", "--latent-dim", "4", "--lr", "1e-3", "--steps", "800"]),
        ("dcgan", ["--width", "8", "--latent-dim", "4", "--steps", "400"]),
        ("wgan", ["--net", "mlp", "--hidden", "64", "--lr", "2e-3", "--steps", "2500"]),
    ],
)
def test_trained_models_obey(
    name: str, more: list[str], cli: Callable[..., Any], tmp_path: Path
) -> None:
    """Brightness follows what is set, by as much as in the data, and noise changes nothing."""
    data, run = dark_and_bright(tmp_path / "a.npz"), str(tmp_path / "run")
    asked = ["--condition", "bright,tint,noise", "--batch-size", "32", "--device", "cpu"]
    done = cli("train", name, "--data", data, *asked, *more, "--out", run, "--seed", "1")
    assert done.code == 0, done.err

    def brightness(text: str) -> float:
        out = tmp_path / f"{text}.npz"
        assert cli("sample", run, "--set", text, "--n", "200", "--out", str(out)).code == 0
        with np.load(out, allow_pickle=False) as found:
            assert found["attributes"].shape == (200, 3)
            return float(found["x"].mean())

    dark, bright = brightness("bright=0,tint=30"), brightness("bright=1,tint=30")
    assert bright - dark == pytest.approx(120, abs=35)
    assert brightness("bright=0,tint=38") - brightness("bright=0,tint=28") > 15
    quiet, loud = brightness("bright=1,tint=30,noise=0"), brightness("bright=1,tint=30,noise=1")
    assert abs(quiet - loud) < 25


@pytest.mark.parametrize(
    "name",
    ["vae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gan", "dcgan", "wgan"))],
)
def test_a_run_that_is_told_attributes_goes_on_and_is_judged(
    name: str, cli: Callable[..., Any], tmp_path: Path
) -> None:
    data, run = dark_and_bright(tmp_path / "a.npz", 250), str(tmp_path / "run")
    size = ["--width", "4"] if name in ("dcgan", "wgan") else ["--hidden", "8"]
    asked = ["--condition", "bright,tint", *size, "--batch-size", "16", "--device", "cpu"]
    assert cli("train", name, "--data", data, *asked, "--steps", "4", "--out", run).code == 0
    assert cli("resume", run, "--steps", "6").code == 0
    judged = cli("evaluate", run, "--n", "20", "--features", "pixels")
    assert judged.code == 0, judged.err
    assert cli("sample", run, "--set", "bright=1", "--out", str(tmp_path / "out")).code == 0
    again = load(DataOptions(data=str(tmp_path / "out")))
    assert [one.name for one in again.spec.attributes] == ["bright", "tint"]
    refused = cli("sample", run, "--class", "1")
    assert refused.code == 2 and "--set" in refused.err


def test_all_rows_of_an_importance_weighted_bound_keep_their_condition() -> None:
    """With k latents an example, the bound of k = 1 repeated is that of one example at a time."""
    spec = dataclasses.replace(FACES, attributes=(SMILE, AGE))
    model_spec = spec_of(find("vae"))
    config = options.build(
        model_spec.config, {"condition": ("smile", "age"), "hidden": (8,), "latent_dim": 2}
    )
    torch.manual_seed(0)
    model = build_model(model_spec, config, spec)
    x, told = torch.rand(4, 1, 8, 8), torch.randn(4, 2)
    z = torch.randn(3 * 4, 2)
    together = model.decode(z, told.repeat(3, 1))
    apart = torch.cat([model.decode(z[4 * i : 4 * i + 4], told) for i in range(3)])
    torch.testing.assert_close(together, apart)
    batch = Batch(x, attributes=told)
    weights = model.log_weights(batch, 3, sampling_noise(0))
    assert weights.shape == (3, 4) and torch.isfinite(weights).all()
    drawn = draw_samples(model, 4, torch.device("cpu"), labels=told)
    swapped = draw_samples(model, 4, torch.device("cpu"), labels=told.flip(0))
    assert not torch.equal(drawn, swapped)
