"""`gentool data list` and `gentool data inspect`."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gentool.cli.data import app
from gentool.errors import UserError


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    place = tmp_path / "my pets"
    for k in range(24):
        (place / ("cat", "dog")[k % 2]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (8 + 4 * (k == 5), 8, 3), dtype=np.uint8))
        image.save(place / ("cat", "dog")[k % 2] / f"{k}.png")
    (place / "cat" / "words.png").write_text("words\x1b[31m")
    (place / "notes.txt").write_text("x")
    return place


def test_list_names_every_source():
    text = run("list")
    for name in ("glyphs", "ring", "mnist", "cifar10", "folder", "zip"):
        assert name in text
    assert {"name", "kind", "help"} == set(json.loads(run("list", "--json"))[0])


def test_inspect_for_a_person(folder):
    text = run("inspect", str(folder), "--size", "8", "--holdout", "0.25")
    assert "train    18" in text and "test     6" in text
    assert "8x8 (23), 12x8 (1)" in text and "RGB (24)" in text
    assert "words.png" in text and "\x1b" not in text
    assert "1 files that are no images" in text and "picture  my-pets-inspect.png" in text
    with Image.open("my-pets-inspect.png") as picture:
        assert picture.size[0] > 60


def test_inspect_for_a_program(folder):
    facts = json.loads(run("inspect", str(folder), "--size", "8", "--json", "--out", "p.png"))
    assert facts["shape"] == [3, 8, 8] and facts["classes"] == ["cat", "dog"]
    counts = [facts["splits"][s]["per_class"] for s in ("train", "test")]
    assert np.sum(counts, axis=0).tolist() == [12, 12]
    assert facts["broken"]["count"] == 1 and facts["broken"]["files"][0]["name"] == "cat/words.png"
    assert facts["picture"] == "p.png" and facts["ignored"] == 1
    assert 110 < facts["values"]["mean"] < 145 and facts["values"]["max"] > 250


def test_inspect_without_the_size_that_training_needs(folder):
    text = run("inspect", str(folder))
    assert "images of different sizes" in text and "training needs --size" in text
    assert "8x8 (23), 12x8 (1)" in text
    assert json.loads(run("inspect", str(folder), "--json"))["needs_size"] is True


def test_statistics_are_exact():
    from gentool.data.inspect import statistics

    x = np.random.default_rng(0).integers(3, 200, (2500, 1, 3, 3), dtype=np.uint8)
    found = statistics(x)
    assert found["min"] == x.min() and found["max"] == x.max()
    assert found["mean"] == pytest.approx(x.mean()) and found["std"] == pytest.approx(x.std())


def test_points_give_a_scatter_plot():
    text = run("inspect", "ring:500", "--out", "ring.png")
    assert "points, 2-dimensional" in text and "train    500" in text
    with Image.open("ring.png") as picture:
        assert picture.size[0] > 200


def test_mistakes_on_the_data_verbs_are_one_sentence(folder):
    with pytest.raises(UserError, match="did you mean 'glyphs'"):
        run("inspect", "glyph")
    with pytest.raises(UserError, match="--size"):
        run("inspect", "glyphs:5", "--size", "0x0")
    with pytest.raises(UserError, match="cannot be written"):
        run("inspect", "glyphs:5", "--out", str(folder / "notes.txt" / "x.png"))
