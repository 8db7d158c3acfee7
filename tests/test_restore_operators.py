"""Operators: linear, with the adjoint of their matrix, and refusing what they cannot be."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gentool.errors import UserError
from gentool.restore.measurement import Measurement, measure
from gentool.restore.operators import registry
from gentool.restore.operators.base import Chain, Identity, Operator
from gentool.restore.operators.registry import build, build_all
from gentool.spec import OperatorInfo

SHAPE = (3, 8, 12)
EVERY = [
    ["missing:center"],
    ["missing:random:0.3"],
    ["missing:box:1,2,5,7"],
    ["scale:2"],
    ["grey"],
    ["measure:20"],
    ["grey", "scale:4"],
    ["grey", "scale:2", "missing:left"],
    ["missing:top", "measure:9"],
    [],
]


def images(n: int = 4, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_linear_with_matrix_and_adjoint(names: list[str]) -> None:
    a = build_all(names, SHAPE, 0)
    x, y = images().double(), torch.randn(4, *a.out_shape, dtype=torch.float64)
    matrix = a.matrix()
    assert matrix.shape == (y[0].numel(), x[0].numel())
    torch.testing.assert_close(a(x).flatten(1), x.flatten(1) @ matrix.T)
    torch.testing.assert_close(a.adjoint(y).flatten(1), y.flatten(1) @ matrix)
    preview = a.preview(a(x))
    assert preview.shape == x.shape and preview.min() >= 0 and preview.max() <= 1
    assert a.measured.shape == a.out_shape


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_what_chooses_is_x_where_it_was_measured(names: list[str]) -> None:
    a = build_all(names, SHAPE, 0)
    expected = all(name.startswith("missing") for name in names)
    assert a.chooses is expected
    if a.chooses:
        x = images()
        assert torch.equal(a(x)[:, a.measured], x[:, a.measured])
        assert not a(x)[:, ~a.measured].any()


def test_missing_sides() -> None:
    x = images(1, (1, 6, 8))
    for name, seen in {"left": x[..., 4:], "bottom": x[..., :3, :]}.items():
        a = build(f"missing:{name}", (1, 6, 8), 0)
        torch.testing.assert_close(x[0][a.measured], seen.flatten())
    centre = build("missing:center", (1, 8, 8), 0).measured
    assert not centre[0, 2:6, 2:6].any() and int(centre.sum()) == 64 - 16
    assert int(build("missing:random:0.25", (3, 8, 8), 0).measured.sum()) == 3 * 48


def test_scale_is_the_mean_of_blocks_and_grey_pillows_luma() -> None:
    x = images()
    small = build("scale:4", SHAPE, 0)(x)
    torch.testing.assert_close(small[2, 1, 1, 2], x[2, 1, 4:8, 8:12].mean())
    pixels = (x[0] * 255).round().byte()
    pillow = np.asarray(Image.fromarray(pixels.permute(1, 2, 0).numpy()).convert("L"))
    grey = build("grey", SHAPE, 0)(pixels[None].float())[0, 0]
    assert np.abs(grey.numpy() - pillow).max() <= 1


def test_random_projections_keep_lengths() -> None:
    x = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = build("measure:4000", (1, 4, 4), 0)(x)
    ratio = y.square().sum(1) / x.flatten(1).square().sum(1)
    assert abs(ratio.mean().item() - 1) < 0.05
    again = build("measure:4000", (1, 4, 4), 0)
    assert torch.equal(again(x), y) and not torch.equal(build("measure:4000", (1, 4, 4), 1)(x), y)


def test_a_mask_file_is_white_where_pixels_are_missing(tmp_path: Path) -> None:
    mask = np.zeros((8, 12), np.uint8)
    mask[1:3, 4:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    a = build(f"missing:{tmp_path / 'mask.png'}", SHAPE, 0)
    assert torch.equal(a.measured, torch.from_numpy(mask == 0).expand(SHAPE))


@pytest.mark.parametrize(
    ("text", "shape", "part"),
    [
        ("scale:3", (1, 28, 28), "does not divide images of 28x28"),
        ("scale:x", (1, 28, 28), "does not divide"),
        ("scale", (1, 28, 28), "is written scale:FACTOR"),
        ("grey:1", SHAPE, "is written grey"),
        ("grey", (1, 28, 28), "colour"),
        ("grey", (2,), "points"),
        ("missing:nowhere.png", SHAPE, "no mask file"),
        ("missing:random:2", SHAPE, "no share"),
        ("missing:box:5,5,2,2", SHAPE, "no box"),
        ("missing:box:0,0,99,3", SHAPE, "no box"),
        ("missing:left", (2,), "images"),
        ("measure:0", SHAPE, "no number"),
        ("measure:999999999999", SHAPE, "no number"),
        ("mesure:5", SHAPE, "did you mean 'measure'"),
    ],
)
def test_refused_in_one_sentence(text: str, shape: tuple[int, ...], part: str) -> None:
    with pytest.raises(UserError, match=part):
        build(text, shape, 0)


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    Image.new("L", (5, 5)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"5x5 pixels .* 12x8"):
        build(f"missing:{tmp_path / 'mask.png'}", SHAPE, 0)


def test_a_chain_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="takes"):
        Chain([build("grey", SHAPE, 0), build("scale:2", SHAPE, 0)])


def test_noise_of_a_measurement() -> None:
    x = images(200)
    a = build("missing:left", SHAPE, 0)
    found = measure(x, a, 0.2, seed=3)
    difference = (found.y - a(x))[:, a.measured]
    assert abs(difference.std().item() - 0.2) < 0.01 and abs(difference.mean().item()) < 0.01
    assert not (found.y - a(x))[:, ~a.measured].any()
    assert torch.equal(measure(x, a).y, a(x))


@pytest.mark.parametrize(("noise", "part"), [(0.0, "more than 0"), (float("nan"), "more than 0")])
def test_measurements_that_are_none(noise: float, part: str) -> None:
    with pytest.raises(UserError, match=part):
        Measurement(Identity(SHAPE), images(), noise)
    with pytest.raises(UserError, match="shape"):
        Measurement(Identity(SHAPE), images()[:, :1])
    with pytest.raises(UserError, match="NaN"):
        Measurement(Identity(SHAPE), images() * float("nan"))


PLUGIN = """
from gentool.hookspecs import hookimpl
from gentool.spec import OperatorInfo

@hookimpl
def gentool_operators(register):
    register(OperatorInfo("blur", "blurred", "test_restore_operators:make_blur", "RADIUS"))
"""


class Blur(Operator):
    """A plugin's operator: the mean of each pixel and its neighbours, around the edges."""

    def __init__(self, radius: int, shape: tuple[int, ...]) -> None:
        self.name, self.radius, self.shape, self.out_shape = "blurred", radius, shape, shape

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x.roll(k, -1) for k in range(-self.radius, self.radius + 1)]).mean(0)


def make_blur(argument: str, shape: tuple[int, ...], seed: int) -> Blur:
    return Blur(int(argument), shape)


def test_operators_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_up_blur")
    exec(PLUGIN, module.__dict__)
    monkeypatch.setattr(registry, "_OPERATORS", list(registry._OPERATORS))
    monkeypatch.setitem(sys.modules, "test_restore_operators", sys.modules[__name__])

    def collect(hook: str, register: Callable[[OperatorInfo], None], *_: object) -> None:
        getattr(module, hook)(register=register)

    monkeypatch.setattr(registry.hooks, "collect", collect)
    assert "blur" in {info.name for info in registry.operators()}
    a = registry.build_all(["blur:1", "scale:2"], (1, 4, 6), 0)
    x = images(2, (1, 4, 6))
    expected = (x + x.roll(1, -1) + x.roll(-1, -1)) / 3
    torch.testing.assert_close(a.steps[0](x), expected)  # type: ignore[attr-defined]
    assert a.out_shape == (1, 2, 3) and not a.chooses
