"""The latent engine against closed forms: a linear decoder, whose every answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gentool.errors import UserError
from gentool.latent import edit, linear, paths, store
from gentool.latent.directions import (
    Direction,
    Directions,
    Evidence,
    first_layer,
    principal,
    supervised,
)
from gentool.latent.invert import Descent, invert, squared_error
from gentool.latent.points import Example, Latents, Picture, Seed, parse
from gentool.latent.prior import draw, measure
from gentool.latent.reconstruct import reconstruct
from gentool.model import Model
from gentool.noise import Noise
from gentool.spec import Attribute, DataSpec


class Linear(Model):
    """x = W z + b_label: its inversion is a least-squares problem."""

    def __init__(self, inputs: int = 3, outputs: int = 6, classes: int = 0) -> None:
        super().__init__()
        self.data = DataSpec("points", (outputs,), tuple("abc"[:classes]))
        self.latent_shape, self.classes = (inputs,), classes
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Linear(inputs, outputs)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
            self.layer.bias.zero_()
        self.offset = torch.randn(max(1, classes), outputs, generator=generator) * 3

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        x = self.layer(z)
        return x if labels is None else x + self.offset[labels]


class Boxed(Linear):
    """The same under a uniform prior."""

    def prior(self, n: int, noise: Noise) -> Tensor:
        return 2 * noise.uniform("z", (n, *self.latent_shape)) - 1


class Bumpy(Linear):
    """x = sin(2z): many latents give the same x, and gradient descent gets stuck between them."""

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return torch.sin(2 * self.layer(z))


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_inversion_finds_the_ridge_solution(weight: float) -> None:
    """argmin ‖Wz − x‖² + λ‖z‖² = (WᵀW + λI)⁻¹Wᵀx."""
    model = Linear().eval()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    w = model.layer.weight.detach()
    exact = torch.linalg.solve(w.T @ w + weight * torch.eye(3), w.T @ x.T).T
    plan = Descent(steps=1500, restarts=2, lr=0.1, prior_weight=weight, least=0, patience=1500)
    found = invert(model, squared_error(x), 5, plan)
    torch.testing.assert_close(found.z, exact, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        found.distance, (exact @ w.T - x).square().sum(1), rtol=1e-3, atol=1e-5
    )
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_uniform_prior_keeps_latents_in_its_box() -> None:
    model = Boxed().eval()
    prior = measure(model)
    assert prior.kind == "uniform" and abs(prior.low + 1) < 2e-3 and abs(prior.high - 1) < 2e-3
    x = 10 * torch.randn(4, 6)
    found = invert(model, squared_error(x), 4, Descent(steps=200, restarts=2, lr=0.1))
    assert found.z.abs().max() <= prior.high and found.z.abs().max() > 0.99


def test_the_shell_of_a_gaussian() -> None:
    model = Linear(inputs=100)
    prior = measure(model)
    norms = draw(model, 1000, seed=9).norm(dim=1)
    inside = (norms > prior.shell[0]) & (norms < prior.shell[1])
    assert prior.kind == "gaussian" and prior.shell[0] < 10 < prior.shell[1]
    assert inside.float().mean() > 0.97


def test_the_best_restart_is_kept_and_more_help() -> None:
    model = Bumpy(inputs=2, outputs=4).eval()
    x = model.sample(draw(model, 20, seed=5)).detach()
    plan = Descent(steps=300, restarts=30, lr=0.05)
    found = invert(model, squared_error(x), 20, plan)
    torch.testing.assert_close(found.distance, found.every.min(1).values)
    again = (model.sample(found.z) - x).square().sum(1).detach()
    torch.testing.assert_close(again, found.distance, rtol=1e-4, atol=1e-6)
    assert (found.every[:, 0] > 0.01).sum() > (found.distance > 0.01).sum()
    assert (found.distance < 1e-3).float().mean() >= 0.9


def test_rows_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image alone, or in chunks of one, is inverted as among others."""
    from gentool.latent import invert as module

    model = Bumpy(inputs=2, outputs=4).eval()
    x = model.sample(draw(model, 3, seed=5)).detach()
    plan = Descent(steps=60, restarts=4)
    whole = invert(model, squared_error(x), 3, plan)
    monkeypatch.setitem(module.ROWS, "cpu", 4)
    torch.testing.assert_close(invert(model, squared_error(x), 3, plan).z, whole.z)
    first = invert(model, squared_error(x[:1]), 1, plan)
    torch.testing.assert_close(first.z, whole.z[:1])


def test_rows_that_stand_still_stop_early() -> None:
    model = Linear().eval()
    x = model.sample(draw(model, 4, seed=2)).detach()
    start = draw(model, 4, seed=2)
    found = invert(
        model, squared_error(x), 4, Descent(steps=400, restarts=3, enough=1e-8), start=start
    )
    assert found.steps.max() == 0 and found.distance.max() < 1e-8


def test_labels_are_searched() -> None:
    model = Linear(classes=3).eval()
    labels = torch.tensor([2, 0, 1, 2])
    x = model.sample(draw(model, 4, seed=3), labels).detach()
    plan = Descent(steps=800, restarts=1, lr=0.1)
    found = invert(model, squared_error(x), 4, plan)
    assert found.labels is not None and found.labels.tolist() == labels.tolist()
    given = invert(model, squared_error(x), 4, plan, labels=labels)
    assert given.labels is not None and given.labels.tolist() == labels.tolist()


def test_what_is_not_finite_is_not_chosen() -> None:
    class Broken(Linear):
        def sample(
            self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None
        ) -> Tensor:
            return torch.where(z[:, :1] < 0, super().sample(z), torch.nan)

    found = invert(Broken().eval(), squared_error(torch.zeros(3, 6)), 3, Descent(steps=50))
    assert found.distance.isfinite().all() and found.z.isfinite().all()


def test_reconstruction_says_how_far_it_is() -> None:
    model = Linear().eval()
    x = torch.randn(3, 6)
    found = reconstruct(model, x, descent=Descent(steps=300, lr=0.1, restarts=2))
    torch.testing.assert_close(found.error, (found.again - x).square().mean(1))
    assert found.method == "optimise" and found.restarts is not None
    assert found.restarts.shape == (3, 2)
    with pytest.raises(UserError, match="no encoder"):
        reconstruct(model, x, method="encoder")
    with pytest.raises(UserError, match=r"shape \(6,\)"):
        reconstruct(model, torch.randn(3, 5))


# --- walks


def test_slerp_is_the_great_circle() -> None:
    """Known angles: every step of a quarter circle turns by the same, at the same length."""
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    t = torch.linspace(0, 1, 7)
    path = paths.slerp(a, b, t)
    angle = t * math.pi / 2
    exact = 2 * torch.stack([angle.cos(), angle.sin(), torch.zeros(7)], 1)
    torch.testing.assert_close(path, exact, rtol=0, atol=1e-6)


def test_slerp_stays_in_the_shell_where_the_line_leaves_it() -> None:
    model = Linear(inputs=100)
    low, high = measure(model).shell
    z = draw(model, 40, seed=1)
    for kind, stays in (("slerp", True), ("linear", False)):
        norms = torch.cat(
            [paths.walk(z[i : i + 2], 11, kind)[0].norm(dim=1) for i in range(0, 40, 2)]  # type: ignore[arg-type]
        )
        assert bool(((norms > low * 0.95) & (norms < high * 1.05)).all()) is stays


@pytest.mark.parametrize("kind", ["slerp", "linear"])
@pytest.mark.parametrize(
    "ends",
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]),
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]),
        ([1e20, 0.0, 0.0], [0.0, 1e-20, 0.0]),
    ],
)
def test_a_walk_meets_its_points_whatever_they_are(
    kind: str, ends: tuple[list[float], ...]
) -> None:
    z = torch.tensor(ends)
    path, nearest = paths.walk(z, 5, kind)  # type: ignore[arg-type]
    assert path.isfinite().all() and len(path) == len(nearest) == 5
    assert torch.equal(path[0], z[0]) and torch.equal(path[-1], z[1])


def test_opposite_points_are_joined_at_their_own_distance() -> None:
    z = torch.tensor([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0]])
    path, _ = paths.walk(z, 9, "slerp")
    torch.testing.assert_close(path.norm(dim=1), torch.full((9,), 3.0))


def test_a_loop_comes_back_without_its_first_point_twice() -> None:
    z = torch.randn(3, 4)
    path, nearest = paths.walk(z, 5, "slerp", loop=True)
    assert len(path) == 12 and torch.equal(path[::4], z)
    assert nearest.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]


# --- directions and edits


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


# --- how points are written


def test_points_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("face.png", "z.npz", "odd:name.jpg", "7"):
        Path(name).touch()
    Path("folder").mkdir()
    for name in ("b.png", "a.jpg", "notes.txt"):
        (Path("folder") / name).touch()
    cases = {
        "seed:7": [Seed(7)],
        "seed:3-5": [Seed(3), Seed(4), Seed(5)],
        "class:3": [Seed(0, "3")],
        "class:cat:7": [Seed(7, "cat")],
        "class:a:b": [Seed(0, "a:b")],
        "test:12": [Example(None, "test", 12)],
        "mnist:test:12": [Example("mnist", "test", 12)],
        "faces:500:train:0-1": [Example("faces:500", "train", i) for i in (0, 1)],
        "my data/x.npz:test:1": [Example("my data/x.npz", "test", 1)],
        "face.png": [Picture(Path("face.png"))],
        "odd:name.jpg": [Picture(Path("odd:name.jpg"))],
        "7": [Picture(Path("7"))],
        "z.npz": [Latents(Path("z.npz"))],
        "z.npz:0-2": [Latents(Path("z.npz"), (0, 1, 2))],
        "folder": [Picture(Path("folder/a.jpg")), Picture(Path("folder/b.png"))],
    }
    for text, points in cases.items():
        assert parse(text) == points, text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "seed:",
            "seed:x",
            "seed:-1",
            "seed:5-3",
            "seed:0-99999999",
            "nothing.png",
            "z.npz:1",
        ),
        *("mnist:test:", "mnist:valid:3", "test:1-", "\x1b[31m", "a" * 5000, "x\0y", "folder:3"),
    ],
)
def test_what_is_no_point_is_refused_in_a_sentence(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        parse(text)
    assert "\x1b" not in str(refused.value) and len(str(refused.value)) < 600


def test_an_empty_folder_is_no_point(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image in the folder"):
        parse(str(tmp_path))
