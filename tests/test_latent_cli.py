"""The verbs of the latent space, as people type them, rightly and wrongly."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from PIL import Image

import gentool
from gentool.cli.main import main
from gentool.errors import UserError

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four tiny trained models and the cache of their data."""
    folder = tmp_path_factory.mktemp("trained")
    small = ("--hidden", 16, "--latent-dim", 4)
    models = {
        "f": ("vae", "--data", "faces:64", "--size", 16, "--channels", "grey", *small),
        "g": ("vae", "--data", "glyphs:64", "--conditional", *small),
        "d": ("dcgan", "--data", "faces:64", "--size", 16, "--width", 4, "--latent-dim", 4),
        "r": ("gan", "--data", "ring:64", "--hidden", 8, "--latent-dim", 2),
        "p": ("vae", "--data", "glyphs:64", *small),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENTOOL_CACHE", str(folder / "cache"))
        for name, arguments in models.items():
            words = (
                "train",
                *arguments,
                "--steps",
                3,
                "--sample-every",
                0,
                "--out",
                f"runs/{name}",
            )
            patch.setattr(sys, "argv", ["gentool", *map(str, words)])
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code == 0
    return folder


@pytest.fixture
def play(cli: Cli, trained: Path, tmp_path: Path) -> Cli:
    """The command line in a folder of its own with those models."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return cli


def png(path: Path, size: tuple[int, int], colour: str = "red") -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_reconstruct(play: Cli, tmp_path: Path) -> None:
    shown = play("reconstruct", "f", "--n", 3, "--k", 2, "--json")
    assert shown.code == 0, shown.err
    facts = json.loads(shown.out)
    assert facts["method"] == "encoder" and len(facts["points"]) == 3
    assert Path(facts["out"]).is_file() and "log_likelihood" in facts["points"][0]
    # The picture of pixels: the error is that of the arrays.
    kept = play("reconstruct", "f", "test:0-2", "--out", "z.npz", "--k", 0)
    assert kept.code == 0 and "mean" in kept.out
    arrays = np.load("z.npz")
    error = ((arrays["x"] - arrays["again"]) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(error, arrays["error"], rtol=1e-5)
    np.testing.assert_allclose(error, [p["error"] for p in facts["points"]], rtol=1e-4)
    # Latents come back in as points, and draw what they stood for.
    sampled = play("sample", "f", "--z", "z.npz", "--out", "s.npz")
    assert sampled.code == 0
    np.testing.assert_allclose(np.load("s.npz")["x"] / 255, arrays["again"], atol=0.51 / 255)


def test_refinement_is_no_worse_than_the_encoder(play: Cli) -> None:
    def error(*more: object) -> float:
        shown = play("reconstruct", "f", "test:0-3", "--json", "--k", 0, "--force", *more)
        return float(json.loads(shown.out)["mean_error"])

    assert error("--method", "optimise", "--steps", 60) < error()


def test_a_model_without_encoder_inverts(play: Cli) -> None:
    arguments = ("--n", 2, "--steps", 5, "--restarts", 3, "--json")
    facts = json.loads(play("reconstruct", "d", *arguments).out)
    assert facts["method"] == "optimise" and len(facts["points"][0]["restarts"]) == 3
    points = play("reconstruct", "r", *arguments, "--out", "pairs.png")
    assert points.code == 0 and Path("pairs.png").is_file()
    refused = play("reconstruct", "d", "--method", "encoder")
    assert refused.code == 2 and "no encoder" in refused.err


def test_a_conditional_model_takes_the_datas_label_or_searches_it(play: Cli) -> None:
    known = json.loads(play("reconstruct", "g", "test:0-2", "--k", 0, "--json").out)
    assert all(p["class"] in "0123456789" for p in known["points"])
    png(Path("x.png"), (28, 28), "black")
    found = json.loads(play("reconstruct", "g", "x.png", "--k", 2, "--json").out)
    assert found["points"][0]["class"] in "0123456789"
    one = json.loads(play("reconstruct", "g", "x.png", "--class", 3, "--k", 0, "--json").out)
    assert one["points"][0]["class"] == "3"


def test_interpolate(play: Cli, tmp_path: Path) -> None:
    shown = play("interpolate", "g", "class:3", "class:7:5", "seed:1", "--steps", 4, "--json")
    facts = json.loads(shown.out)
    assert facts["path"] == "slerp" and facts["pictures"] == 7
    for out in ("w.gif", "w.webp"):
        assert play("interpolate", "f", "seed:1-2", "--steps", 5, "--loop", "--out", out).code == 0
        with Image.open(out) as film:
            assert film.n_frames == 8 and max(film.size) >= 256  # type: ignore[attr-defined]
    assert play("interpolate", "f", "seed:1", "test:0", "--out", "walk").code == 0
    assert len(list(Path("walk").glob("*.png"))) == 10
    assert play("interpolate", "r", "seed:1", "seed:2", "--out", "ring.png").code == 0


def test_the_ends_of_a_walk_are_the_points(play: Cli) -> None:
    assert play("interpolate", "f", "seed:3", "seed:4", "--steps", 3, "--out", "w.npz").code == 0
    for number, row in ((3, 0), (4, -1)):
        assert play("sample", "f", "--seed", number, "--n", 1, "--out", f"{number}.npz").code == 0
        assert np.array_equal(np.load(f"{number}.npz")["x"][0], np.load("w.npz")["x"][row])


def test_directions_then_edits(play: Cli) -> None:
    found = play("directions", "f", "--attributes", "male,hat", "--json")
    facts = json.loads(found.out)
    assert [d["name"] for d in facts["directions"]] == ["male", "male.mean", "hat", "hat.mean"]
    assert np.array(facts["angles"]).shape == (4, 4) and facts["latents"] == "encoded"
    assert play("directions", "f", "--by", "pca").code == 0  # kept beside them
    row = play("edit", "f", "seed:0-1", "--along", "male=-2:2:5", "--keep", "hat", "--out", "e.npz")
    assert row.code == 0, row.err
    assert np.load("e.npz")["x"].shape == (2, 5, 1, 16, 16)
    table = play("edit", "f", "test:0", "--along", "male=-1:1:3", "--along", "pca1=-1:1:2")
    assert table.code == 0 and Path(table.out.strip()).is_file()
    mixed = play("edit", "f", "seed:1", "b=seed:2,seed:3", "test:0", "--mix", "a - b + c")
    assert mixed.code == 0, mixed.err
    both = play(*("edit", "f", "a=seed:1", "--mix", "a", "--along", "hat=0:2:3", "--out", "m.npz"))
    assert both.code == 0 and np.load("m.npz")["x"].shape == (1, 3, 1, 16, 16)


def test_directions_of_other_weights_are_replaced(play: Cli) -> None:
    assert play("directions", "f", "--by", "pca").code == 0
    assert play("resume", "f", "--steps", 6).code == 0
    found = play("directions", "f", "--attributes", "male")
    assert found.code == 0 and "other weights" in found.err
    assert play("edit", "f", "seed:0", "--along", "pca1=1").code == 2


def test_principal_directions_of_a_generator(play: Cli) -> None:
    """The first layer's components; they need no data."""
    found = play("directions", "d", "--by", "pca", "--json")
    facts = json.loads(found.out)
    assert facts["latents"] == "sampled" and facts["data"] is None
    assert [d["name"] for d in facts["directions"]] == ["pca1", "pca2", "pca3", "pca4"]
    assert play("edit", "d", "seed:0", "--along", "pca1=-2:2:3").code == 0


@pytest.mark.slow
def test_the_map_of_two_latents(cli: Cli) -> None:
    arguments = ("--hidden", 8, "--steps", 2, "--sample-every", 0, "--out", "two")
    assert cli("train", "vae", "--data", "glyphs:64", "--latent-dim", 2, *arguments).code == 0
    drawn = cli("reconstruct", "two", "--map")
    assert drawn.code == 0 and Path(drawn.out.strip()).is_file()
    refused = cli("reconstruct", "two", "seed:1", "--map")
    assert refused.code == 2 and "no points" in refused.err


MISTAKES = {
    "no such point": (("reconstruct", "f", "nosuch.png"), "no point of the latent space"),
    "no such run": (("reconstruct", "nosuch"), "no point of the latent space"),
    "no such file": (("reconstruct", "nosuch.safetensors"), "there is no file"),
    "beyond the end": (("reconstruct", "f", "test:99999"), "there is no test:99999"),
    "a seed has no original": (("reconstruct", "f", "seed:1"), "no original"),
    "points and data": (("reconstruct", "f", "test:1", "--data", "faces"), "--data is for"),
    "nothing of it": (("reconstruct", "f", "--n", 0), "--n is 0"),
    "backwards": (("reconstruct", "f", "--lr", -1), "--lr is -1"),
    "no method": (("reconstruct", "f", "--method", "encode"), "did you mean 'encoder'"),
    "another ending": (("reconstruct", "f", "--out", "x.jpg"), "neither a picture.png"),
    "four latents": (("reconstruct", "f", "--map"), "has 4 latents"),
    "another size": (("reconstruct", "p", "big.png"), "--fit crop, pad or stretch"),
    "an image of points": (("reconstruct", "r", "big.png"), "makes points of 2 numbers"),
    "no image": (("reconstruct", "f", "text.png"), "is a text file"),
    "other data": (("reconstruct", "f", "ring:64:test:0"), "holds points"),
    "not conditional": (("reconstruct", "f", "test:0", "--class", 3), "not class-conditional"),
    "no such class": (("interpolate", "g", "class:cat", "seed:1"), "'cat' is none of 0, 1"),
    "one point": (("interpolate", "f", "seed:1"), "two points or more"),
    "no point": (("interpolate", "f"), "two points or more"),
    "one step": (("interpolate", "f", "seed:1-2", "--steps", 1), "--steps is 1"),
    "no path": (("interpolate", "f", "seed:1-2", "--path", "cubic"), "--path 'cubic'"),
    "a film of points": (("interpolate", "r", "seed:1-2", "--out", "x.gif"), "x.png or z.npz"),
    "another width": (("interpolate", "f", "wide.npy"), "takes latents (N, 4)"),
    "not finite": (("interpolate", "f", "nan.npy"), "NaN or infinity"),
    "no z": (("interpolate", "f", "noz.npz"), "holds no 'z'"),
    "no directions yet": (("edit", "f", "seed:1", "--along", "smile=1"), "gentool directions"),
    "nothing to do": (("edit", "f", "seed:1"), "say what to do"),
    "nothing to edit": (("edit", "f", "--along", "smile=1"), "needs a point"),
    "without a range": (("edit", "f", "seed:1", "--along", "smile"), "has no range"),
    "twice": (("edit", "f", "seed:1", "--along", "a=1", "--along", "a=2"), "twice"),
    "thrice": (
        ("edit", "f", "seed:1", *[x for k in "abc" for x in ("--along", f"{k}=1")]),
        "two sides",
    ),
    "no sum": (("edit", "f", "seed:1", "--mix", "a * a"), "no sum of points"),
    "no term": (("edit", "f", "seed:1", "--mix", "a - b"), "'b', which is no point"),
    "no such attribute": (("directions", "f", "--attributes", "smiel"), "did you mean 'smile'"),
    "neither": (("directions", "f", "--by", "labls"), "did you mean 'labels'"),
    "of points": (("directions", "r"), "use --by pca"),
    "too few": (("directions", "f", "--n", 3), "--n is 3"),
}


def test_mistakes_are_answered_in_a_sentence(play: Cli) -> None:
    png(Path("big.png"), (40, 30))
    Path("text.png").write_text("hello")
    np.save("wide.npy", np.zeros((2, 5)))
    np.save("nan.npy", np.full((2, 4), np.nan))
    np.savez("noz.npz", x=np.zeros((2, 4)))
    for name, (arguments, said) in MISTAKES.items():
        result = play(*arguments)
        assert result.code == 2, (name, result)
        assert said in result.err, (name, result.err)
        assert "Traceback" not in result.err and result.out == "", name
        assert len(result.err.splitlines()) == 1, (name, result.err)


def test_an_image_of_another_size_is_read_as_the_runs_data_was(play: Cli) -> None:
    """--size 16 was given in training, so images are brought to 16x16 without asking."""
    png(Path("big.png"), (40, 30))
    assert play("reconstruct", "f", "big.png", "--k", 0).code == 0
    assert play("reconstruct", "f", "big.png", "--fit", "pad", "--k", 0, "--force").code == 0


def test_a_lone_file_names_its_data(play: Cli) -> None:
    Path("lone").mkdir()
    Path("runs/f/model.safetensors").rename("lone/m.safetensors")
    refused = play("reconstruct", "lone/m.safetensors")
    assert refused.code == 2 and "does not know its data" in refused.err
    assert play("reconstruct", "lone/m.safetensors", "--data", "faces:64", "--n", 2).code == 0
    assert play("directions", "lone/m.safetensors", "--data", "faces:64").code == 0
    assert Path("lone/m-directions.safetensors").is_file()
    edited = play("edit", "lone/m.safetensors", "seed:1", "--along", "male=1", "--out", "e.png")
    assert edited.code == 0


def test_python_does_the_same(play: Cli) -> None:
    model = gentool.load("runs/f")
    x = torch.rand(3, 1, 16, 16)
    z = model.encode(x)
    found = model.reconstruct(x)
    assert torch.equal(found.z, z) and found.again.shape == x.shape
    refined = model.reconstruct(x, method="optimise", steps=30)
    assert (refined.error <= found.error + 1e-6).all()
    inverted = model.invert(x, steps=5, restarts=2)
    assert inverted.z.shape == (3, 4) and inverted.every.shape == (3, 2)
    named = model.reconstruct("test:0-1")
    assert len(named.error) == 2
    walk = model.interpolate("seed:1", z[:1], n=5)
    assert walk.shape == (5, 1, 16, 16)
    torch.testing.assert_close(walk[0], model.sample(1, seed=1)[0])
    torch.testing.assert_close(walk[-1], found.again[0])
    every = model.directions(["male", "hat"])
    grid = model.edit(z, along={"male": [-1, 0, 1]}, keep=["hat"], directions=every)
    assert grid.shape == (3, 3, 1, 16, 16)
    torch.testing.assert_close(grid[:, 1], found.again)
    assert model.edit("seed:0", "male=-1:1:4", directions=every).shape == (1, 4, 1, 16, 16)
    with pytest.raises(UserError, match="gentool directions"):
        model.edit("seed:0", "male=1")
    with pytest.raises(UserError, match="shape"):
        model.encode(torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="use invert"):
        gentool.load("runs/d").encode(torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="two points"):
        model.interpolate("seed:1")
    conditional = gentool.load("runs/g")
    assert conditional.interpolate("class:1", "class:2", n=3).shape == (3, 1, 28, 28)
