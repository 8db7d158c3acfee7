"""Directions of attributes, and edits along them, against known normals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from latent_models import Linear
from torch import Tensor

from gentool.errors import UserError
from gentool.latent import edit, linear, store
from gentool.latent.directions import (
    Direction,
    Directions,
    Evidence,
    first_layer,
    principal,
    supervised,
)
from gentool.latent.prior import draw
from gentool.model import Model
from gentool.noise import Noise
from gentool.spec import Attribute, DataSpec


def toy_evidence(n: int = 4000, d: int = 6) -> tuple[Evidence, Tensor]:
    """Two attributes, logistic in known directions; one continuous; correlated coordinates."""
    g = torch.Generator().manual_seed(0)
    root = torch.randn(d, d, generator=g)
    z = torch.randn(2 * n, d, generator=g) @ root
    truth = torch.linalg.qr(torch.randn(d, 3, generator=g))[0].T
    logits = 4 * z @ truth.T
    coins = (torch.rand(2 * n, 2, generator=g) < torch.sigmoid(logits[:, :2])).float()
    age = z @ truth[2] + 0.1 * torch.randn(2 * n, generator=g)
    y = torch.cat([coins, (age / age.std())[:, None]], 1)
    known = (Attribute("one"), Attribute("two"), Attribute("age", "continuous"))
    return Evidence(z[:n], y[:n], z[n:], y[n:], known), truth


def test_normals_are_the_true_ones() -> None:
    evidence, truth = toy_evidence()
    found, notes = supervised(evidence)
    every = Directions({d.name: d for d in found})
    assert not notes and list(every.every) == [
        *("one", "one.mean", "two", "two.mean", "age", "age.mean")
    ]
    for name, vector in zip(("one", "two", "age"), truth, strict=True):
        assert every[name].vector @ vector > 0.995, name
        assert abs(every[name].vector.norm().item() - 1) < 1e-5
        std = (evidence.z @ every[name].vector).std().item()
        assert abs(every[name].std - std) < 1e-2 * std
    assert every["one"].facts["accuracy"] > 0.85 > every["one"].facts["majority"] > 0.49
    assert every["age"].facts["r2"] > 0.95
    # In correlated coordinates the difference of means points elsewhere than the normal does.
    assert every["one.mean"].vector @ truth[0] < 0.99
    angles = every.angles()
    assert angles[0, 0] < 0.1 and abs(angles[0, 2] - 90) < 6


def test_logistic_regression_is_that_of_its_gradient() -> None:
    """At the optimum the objective's gradient vanishes: checked by hand, not by autograd."""
    evidence, _ = toy_evidence(500)
    z, y = evidence.z.double(), evidence.y[:, 0].double()
    w, b = linear.logistic(z, y, ridge=1e-2)
    scale = z.var(0, correction=0).mean().sqrt()
    residual = torch.sigmoid(z @ w + b) - y
    assert residual.mean().abs() < 1e-6
    gradient = (residual[:, None] * (z - z.mean(0))).mean(0) / scale + 1e-2 * w * scale
    assert gradient.abs().max() < 1e-5


def test_an_attribute_that_nobody_has_is_left_out_with_a_note() -> None:
    evidence, _ = toy_evidence(100)
    y = evidence.y.clone()
    y[:, 0] = 0
    found, notes = supervised(Evidence(evidence.z, y, evidence.held_z, y, evidence.attributes))
    assert "one: 0 of 100" in notes[0] and "one" not in {d.name for d in found}


@pytest.mark.parametrize("rows", [50, 5])
def test_principal_components_are_those_of_the_svd(rows: int) -> None:
    x = torch.randn(rows, 8, dtype=torch.float64) * torch.arange(1, 9)
    _, s, v = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    coordinates, components, variances = linear.principal(x, 3)
    torch.testing.assert_close(variances, s[:3].square() / rows)
    torch.testing.assert_close((components @ v[:3].T).abs(), torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(coordinates, (x - x.mean(0)) @ components.T)


def test_the_first_layers_directions_are_its_singular_vectors() -> None:
    """For x = Wz and white z the principal activations belong to W's right singular vectors."""
    model = Linear(inputs=4, outputs=9).eval()
    z = draw(model, 20_000, seed=0)
    found = first_layer(model, z, None)
    _, _, v = torch.linalg.svd(model.layer.weight.detach())
    assert len(found) == 4 and found[0].facts["explained"] > found[1].facts["explained"]
    for direction, vector in zip(found[:2], v, strict=False):
        assert (direction.vector @ vector).abs() > 0.99
        assert abs(direction.std - 1) < 0.05


def test_an_edit_moves_by_the_strength_and_keeps_what_is_kept() -> None:
    evidence, _ = toy_evidence()
    every = Directions({d.name: d for d in supervised(evidence)[0]})
    z = evidence.z[:3]
    along = [edit.parse_along("one=-2:2:5"), edit.parse_along("age=1")]
    out = edit.edit(z, along, every, keep=["two"])
    assert out.shape == (3, 5, 1, 6)
    kept = (out - z[:, None, None]) @ every["two"].vector
    assert kept.abs().max() < 1e-4 * z.abs().max()
    free = edit.edit(z, along[:1], every)
    torch.testing.assert_close(free[:, 2], z)
    moved = (free[:, 4] - free[:, 2]) @ every["one"].vector
    torch.testing.assert_close(moved, torch.full((3,), 2 * every["one"].std), rtol=1e-4, atol=0)
    with pytest.raises(UserError, match="nothing of the direction"):
        edit.without(every["one"], [every["two"], every["one"]])
    with pytest.raises(UserError, match="did you mean 'one'"):
        edit.edit(z, [edit.parse_along("ones=1")], every)


@pytest.mark.parametrize(
    "text", ["smile", "smile=", "smile=1:2", "=1", "smile=1:2:1", "smile=a:b:3", "smile=1:2:3000"]
)
def test_a_strength_without_a_range_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--along"):
        edit.parse_along(text)


def test_strengths_are_spaced_evenly() -> None:
    assert edit.parse_along("a=b=-3:3:4").name == "a=b"
    assert edit.parse_along("smile=-3:3:7").strengths == (-3, -2, -1, 0, 1, 2, 3)
    assert edit.parse_along("x=.5").strengths == (0.5,)


def test_mixing_is_arithmetic_on_means() -> None:
    terms = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.ones(1, 2), "c": torch.eye(2)}
    assert edit.mix("a - b + c", terms).tolist() == [1.5, 2.5]
    assert edit.mix("-b+a", terms).tolist() == [1.0, 2.0]
    for bad in ("", "a b", "a -", "a * b", "a - d", "+", "(a)"):
        with pytest.raises(UserError, match="--mix"):
            edit.mix(bad, terms)


def test_directions_survive_the_disk(tmp_path: Path) -> None:
    evidence, _ = toy_evidence(200)
    found = Directions({d.name: d for d in supervised(evidence)[0]}, {"data": "toy"})
    path = tmp_path / "directions.safetensors"
    store.save(path, found)
    first = path.read_bytes()
    store.save(path, found)
    assert path.read_bytes() == first
    back = store.load(path, Linear(inputs=6))
    assert back.origin == {"data": "toy"} and list(back.every) == list(found.every)
    for name, direction in found.every.items():
        assert torch.equal(back[name].vector, direction.vector)
        assert (back[name].std, back[name].facts) == (direction.std, direction.facts)
    with pytest.raises(UserError, match="have 5"):
        store.load(path, Linear(inputs=5))
    path.write_bytes(first[:-10])
    with pytest.raises(UserError, match="damaged"):
        store.load(path, Linear(inputs=6))


def test_a_direction_of_another_models_width_is_refused() -> None:
    short = Direction("a", torch.ones(2) / math.sqrt(2), 1.0, "mean")
    with pytest.raises(UserError, match="find it again"):
        edit.shift(torch.zeros(1, 3), short, 1.0)


def test_few_latents_have_few_principal_directions() -> None:
    assert len(principal(torch.randn(3, 10))) == 2


def test_a_generators_directions_come_from_a_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator whose first latent is the brightness of its images: the direction of "bright",
    learned from a classifier of other images, is the first axis."""
    import numpy as np

    from gentool.data.dataset import Dataset, Report, Split
    from gentool.latent.evidence import gather
    from gentool.metrics import attributes, features

    class Lamp(Model):
        data = DataSpec("image", (1, 8, 8), attributes=(Attribute("bright"),))
        latent_shape = (3,)

        def sample(
            self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None
        ) -> Tensor:
            stripes = torch.linspace(-1, 1, 8)[None, None, None] * z[:, 1:2, None, None]
            x = torch.sigmoid(2 * z[:, :1, None, None] + 0.2 * stripes)
            return x.expand(-1, 1, 8, 8)

    for module in (features, attributes):
        monkeypatch.setattr(module, "STEPS", 150)
    levels = np.random.default_rng(0).integers(0, 256, (600, 1, 1, 1), np.uint8)
    images, bright = np.tile(levels, (1, 1, 8, 8)), (levels.reshape(-1, 1) > 127).astype(np.float32)
    split, held = (Split(images[a:b], None, bright[a:b]) for a, b in ((0, 500), (500, 600)))
    dataset = Dataset("lamps", split, held, Lamp.data, Report(), "lamps")
    evidence = gather(Lamp().eval(), dataset, None, tmp_path, n=1000)
    found = {d.name: d for d in supervised(evidence)[0]}
    assert found["bright"].vector[0] > 0.98 and found["bright"].facts["accuracy"] > 0.9
    assert abs(found["bright"].std - 1) < 0.1
