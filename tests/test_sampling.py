"""Sampling from files: the same seed, the same picture; and the Python interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from PIL import Image

import gentool
from gentool.errors import UserError
from gentool.noise import sampling_noise
from gentool.weights import read_header

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "3", "--epochs", "1")


@pytest.fixture
def run(trained: Callable[..., Path], tmp_path: Path) -> Path:
    return tmp_path / trained("run", "vae", *SMALL)


def test_a_file_alone_is_enough(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "lone.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    ours = gentool.load(run).sample(8)
    assert torch.equal(ours, gentool.load(tmp_path / "lone.safetensors").sample(8))
    assert ours.shape == (8, 1, 28, 28) and ours.min() >= 0 and ours.max() <= 1


def test_one_seed_one_picture_whatever_n(run: Path) -> None:
    model = gentool.load(run)
    many = model.sample(600, seed=3)
    torch.testing.assert_close(model.sample(5, seed=3), many[:5])
    assert not torch.equal(many[:5], model.sample(5, seed=4))


def test_latents_are_the_portable_philox() -> None:
    """Pinned numbers: a change of the noise would change every published picture."""
    z = sampling_noise(0).normal("z", (2, 3))
    again = sampling_noise(0, row_offset=1).normal("z", (1, 3))
    torch.testing.assert_close(z[1:], again)
    big = sampling_noise(1).normal("z", (20_000, 4))
    assert abs(big.mean()) < 0.02 and abs(big.std() - 1) < 0.02


def test_grid_folder_and_arrays_show_the_same(cli: Cli, run: Path, tmp_path: Path) -> None:
    for out in ("grid.png", "folder", "arrays.npz"):
        result = cli("sample", "run", "--n", 4, "--out", out)
        assert result.code == 0 and result.out.strip() == out
    arrays = np.load(tmp_path / "arrays.npz")["x"]
    assert arrays.shape == (4, 1, 28, 28) and arrays.dtype == np.uint8
    files = sorted((tmp_path / "folder").iterdir())
    assert len(files) == 4
    for image, file in zip(arrays, files, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), image[0])
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    factor = grid.shape[0] // 62
    assert np.array_equal(grid[::factor, ::factor][2:30, 2:30], arrays[0, 0])


def test_latents_of_ones_own(cli: Cli, run: Path, tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "z.npy", z)
    assert cli("sample", "run", "--z", "z.npy", "--out", "x.npz").code == 0
    stored = np.load(tmp_path / "x.npz")
    expected = gentool.load(run).sample(5, z=torch.from_numpy(z.astype(np.float32)))
    assert np.array_equal(stored["x"], np.rint(expected.numpy() * 255).astype(np.uint8))
    np.save(tmp_path / "wrong.npy", z[:, :2])
    assert "(N, 3)" in cli("sample", "run", "--z", "wrong.npy").err


def test_drawing_differs_from_the_mean(run: Path) -> None:
    model = gentool.load(run)
    drawn = model.sample(4, draw=True)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(drawn, model.sample(4, draw=True))


def test_classes_on_request(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--conditional", "--out", "c").code == 0
    assert cli("sample", "c", "--class", "7", "--n", 3, "--out", "seven.npz").code == 0
    assert np.load(tmp_path / "seven.npz")["labels"].tolist() == [7, 7, 7]
    assert cli("sample", "c", "--class", "all", "--n", 20, "--out", "all.npz").code == 0
    assert np.load(tmp_path / "all.npz")["labels"].tolist() == [i // 2 for i in range(20)]
    result = cli("sample", "c", "--class", "eleven")
    assert result.code == 2 and "eleven" in result.err


def test_points_are_drawn_as_a_scatter_plot(cli: Cli, tmp_path: Path) -> None:
    options = ("--data", "ring:200", "--likelihood", "gaussian", "--hidden", "8", "--epochs", "1")
    assert cli("train", "vae", *options, "--out", "p").code == 0
    assert cli("sample", "p", "--out", "p.png").code == 0
    assert Image.open(tmp_path / "p.png").size[0] > 300
    assert gentool.load(tmp_path / "p").sample(7).shape == (7, 2)


def test_the_header_is_one_canonical_entry_without_time_or_place(run: Path) -> None:
    raw = (run / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert list(header["__metadata__"]) == ["gentool"]
    ours = json.loads(header["__metadata__"]["gentool"])
    assert set(ours) == {"format_version", "model", "plugin", "config", "data"}
    assert ours["config"]["latent_dim"] == 3 and ours["data"]["shape"] == [1, 28, 28]
    assert str(run.parent).encode() not in raw


def forge(run: Path, change: Callable[[dict], None]) -> Path:  # type: ignore[type-arg]
    """A copy of the model file whose gentool entry was tampered with."""
    raw = (run / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["gentool"])
    change(ours)
    header["__metadata__"]["gentool"] = json.dumps(ours)
    new = json.dumps(header).encode()
    path = run.parent / "forged.safetensors"
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h["config"].update(hidden=[10**12]), "do not fit its config"),
        (lambda h: h["config"].update(latent_dim=-1), "--latent-dim is -1"),
        (lambda h: h["config"].update(mystery=1), "unknown option 'mystery'"),
        (lambda h: h.update(model="no\x1b[31msuch"), "not installed"),
        (lambda h: h.update(format_version=99), "newer"),
        (lambda h: h["data"].update(shape=[1, 10**9, 10**9]), "no model that can be built"),
        (lambda h: h["data"].update(kind="sound"), "damaged"),
        (lambda h: h.pop("plugin"), "damaged"),
    ],
    ids=["huge layer", "bad value", "unknown option", "escape", "newer", "huge", "kind", "missing"],
)
def test_tampered_headers_are_refused_in_one_sentence(
    run: Path, change: Callable[..., None], words: str
) -> None:
    path = forge(run, change)
    with pytest.raises(UserError) as error:
        gentool.load(path)
    assert words in str(error.value)
    assert "\x1b" not in str(error.value)


def test_weights_that_are_not_numbers_are_refused(run: Path) -> None:
    from gentool.weights import read_tensors, save_model

    tensors = read_tensors(run / "model.safetensors")
    tensors["decoder.out.bias"][0] = float("nan")
    save_model(run / "nan.safetensors", tensors, read_header(run / "model.safetensors"))
    with pytest.raises(UserError, match="NaN"):
        gentool.load(run / "nan.safetensors")
