"""Metrics of images on real data: ideal on real against real, off on real against noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset, Split
from gentool.data.sources.stacked import CLASSES, stack
from gentool.metrics import features, memorisation, registry, ssim, swd

CPU = torch.device("cpu")


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = str(tmp_path_factory.mktemp("cache"))
    return load(DataOptions(data="glyphs:3000", cache=cache))


@pytest.fixture(autouse=True, scope="module")
def short_training() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "STEPS", 120)
        patch.setattr(swd, "PROJECTIONS", 32)
        yield


@pytest.fixture(scope="module")
def trained(
    glyphs: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[features.Classifier, features.Features, Path]:
    cache = tmp_path_factory.mktemp("classifier")
    return (*features.classifier(glyphs, cache, CPU, silent), cache)


def pixels(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x))


PAIRWISE = [m for m in registry.metrics() if m.compares in ("features", "examples")]


@pytest.mark.parametrize("name", [m.name for m in PAIRWISE if m.name != "fid"])
@pytest.mark.parametrize("kind", ["noise", "one image"])
def test_ideal_on_real_against_real_and_off_on_noise(
    name: str, kind: str, glyphs: Dataset, trained: tuple[features.Classifier, features.Features]
) -> None:
    metric, n = registry.find(name), 250
    real, test = pixels(glyphs.train.x[:n]), pixels(glyphs.test.x[:n])
    noise = torch.randint(256, real.shape, generator=torch.Generator().manual_seed(0))
    bad = noise.byte() if kind == "noise" else real[:1].expand(n, -1, -1, -1).contiguous()
    sides = [real, test, bad]
    if metric.compares == "features":
        sides = [trained[1](x) for x in sides]
    function = registry.function_of(metric)
    good, off = (function(sides[0], other) for other in sides[1:])
    value = metric.values[0]
    if value.name == "ms_ssim":  # noise is more diverse than digits, one image not at all
        assert off["ms_ssim"] < 0.05 if kind == "noise" else off["ms_ssim"] > 0.999
        assert 0.02 < good["ms_ssim"] < 0.5
    elif value.name == "precision":
        assert good["precision"] > 0.8 and good["coverage"] > 0.8
        assert off["coverage"] < 0.1
    elif value.name == "1nn":  # each copy ties with its original, which counts half
        assert abs(good["1nn"] - 0.5) < 0.1 and off["1nn"] > 0.7
    else:
        assert off[value.name] > 5 * max(good[value.name], 1e-3)


def test_ssim_of_the_same_and_of_a_flat_pair() -> None:
    x = torch.rand((3, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ssim.ms_ssim(x, x), torch.ones(3))
    # Flat images have luminance alone: (2ab + C1)/(a² + b² + C1), to the last scale's power.
    a, b = torch.full((1, 1, 28, 28), 0.2), torch.full((1, 1, 28, 28), 0.8)
    luminance = (2 * 0.16 + 1e-4) / (0.04 + 0.64 + 1e-4)
    weight = 0.2856 / (0.0448 + 0.2856)
    assert ssim.scales(28, 28) == 2
    assert ssim.ms_ssim(a, b).item() == pytest.approx(luminance**weight, rel=1e-3)


@pytest.mark.parametrize(("side", "count"), [(8, 1), (16, 1), (22, 2), (64, 3), (176, 5), (512, 5)])
def test_five_scales_need_176_pixels(side: int, count: int) -> None:
    assert ssim.scales(side, side) == count


def test_random_features_are_the_same_everywhere() -> None:
    """The weights come from exact arithmetic, so their hash is a constant of the program."""
    space = features.random_network(1, 28, 28, CPU)
    assert space.hash == RANDOM_HASH
    torch.manual_seed(5)
    assert features.random_network(1, 28, 28, CPU).hash == space.hash
    assert space(torch.zeros((3, 1, 28, 28), dtype=torch.uint8)).shape == (3, 64)


RANDOM_HASH = "fbdade4bbf66"


def test_the_classifier_is_trained_once(
    glyphs: Dataset, trained: tuple[features.Classifier, features.Features, Path]
) -> None:
    _, space, cache = trained
    assert space.facts["accuracy"] > 0.85
    hidden = space(pixels(glyphs.train.x))
    assert hidden.shape == (3000, 64) and hidden.square().mean().item() == pytest.approx(1, rel=0.1)

    def refuse(what: str, done: int, total: int) -> None:
        raise AssertionError("it is trained again")

    again = features.classifier(glyphs, cache, CPU, refuse)[1]
    assert again.hash == space.hash
    file = next(cache.rglob("*.safetensors"))
    file.write_bytes(b"not weights")
    with pytest.raises(AssertionError, match="trained again"):
        features.classifier(glyphs, cache, CPU, refuse)


def test_copies_are_found(glyphs: Dataset) -> None:
    train, test = (pixels(s.x[:400]).flatten(1).float() for s in (glyphs.train, glyphs.test))
    held_out = memorisation.to_nearest(test, train)
    honest = memorisation.compare(memorisation.to_nearest(test.flip(0), train), held_out)
    assert honest == {"closer": pytest.approx(0.5), "distance_ratio": pytest.approx(1)}
    copies = memorisation.compare(memorisation.to_nearest(train[:100], train), held_out)
    assert copies == {"closer": 1.0, "distance_ratio": 0.0}


def test_the_picture_shows_the_nearest_images(
    glyphs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorisation, "PART", 130)
    train = np.asarray(glyphs.train.x[:500])
    sheet = memorisation.neighbours_sheet(train[[7, 300]], train)
    rows = sheet.reshape(2, memorisation.ACROSS, *train.shape[1:])
    for row, index in zip(rows, (7, 300), strict=True):
        distances = ((train.astype(float) - train[index]) ** 2).sum((1, 2, 3))
        expected = np.sort(distances)[: memorisation.ACROSS - 1]
        found = ((row[1:].astype(float) - row[0]) ** 2).sum((1, 2, 3))
        np.testing.assert_allclose(found, expected)


@pytest.mark.slow
def test_stacked_digits_are_classified_channel_by_channel(glyphs: Dataset, tmp_path: Path) -> None:
    train, test = stack(glyphs.train, 2000, 0), stack(glyphs.test, 300, 1)
    assert train.x.shape == (2000, 3, 28, 28) and train.labels is not None
    hundreds = train.labels // 100
    for i in (0, 5):  # the red channel is a digit of the class that the label begins with
        same = (np.asarray(glyphs.train.x)[:, 0] == train.x[i, 0]).all((1, 2))
        assert hundreds[i] in glyphs.train.labels[same]
    spec = type(glyphs.spec)("image", (3, 28, 28), CLASSES)
    stacked = Dataset("stacked", train, test, spec, glyphs.report, "f")
    network, space = features.classifier(stacked, tmp_path, CPU, silent)
    assert network.per_channel and network.classes == 10
    assert space.facts["accuracy"] > 0.75
    assert space(pixels(test.x)).shape == (300, 192)
    found = network.labels(pixels(test.x)).numpy()
    assert (found == test.labels).mean() > 0.4
    assert isinstance(test, Split)
