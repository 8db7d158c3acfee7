"""FID and its kin, beside torch-fidelity itself, on an Inception network of random weights."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result
from file_server import Server

import gentool
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published
from gentool.errors import UserError
from gentool.render.grid import to_pixels
from gentool_fid import published, weights
from gentool_fid.network import widened

Cli = Callable[..., Result]

ALL = "fid,kid-inception,inception-score,prc-inception"
N = 12


@pytest.fixture(scope="module")
def fidelity() -> Any:
    """torch-fidelity. It imports torchvision, of which there may be no build for this torch."""
    pytest.importorskip("torchvision.version", reason="needs torchvision", exc_type=Exception)
    return pytest.importorskip("torch_fidelity", reason="needs torch-fidelity")


@pytest.fixture(scope="module", autouse=True)
def operators() -> Any:
    """torchvision's Python looks up two operators of its library when it is imported.

    Where that library was built for another torch (a CUDA build beside a CPU torch, as here), no
    package of the index fits. None of the metrics calls an operator of it, so naming the two is
    enough to import it: in tests, where nothing else can look at the numbers.
    """
    try:
        import torchvision  # noqa: F401

        yield None
    except (ImportError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        yield library


class Fake:
    """A file in the published format, and the door that lets its hash through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.path = path
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(
            weights, "PUBLISHED", Download("random.pth", len(content), sha256=digest)
        )


@pytest.fixture(scope="module")
def random_weights(fidelity: Any) -> bytes:
    """He's initialisation (2015), so that features of different images differ."""
    from unittest import mock

    from torch_fidelity import feature_extractor_inceptionv3 as module

    made: dict[str, torch.Tensor] = {}
    cls = module.FeatureExtractorInceptionV3
    with (
        mock.patch.object(module, "load_state_dict_from_url", lambda *a, **k: made),
        mock.patch.object(cls, "load_state_dict", lambda self, state: None),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        network = cls("inception-v3-compat", ["2048"])
        for name, tensor in network.state_dict().items():
            if name.endswith("conv.weight"):
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
            made[name] = tensor.clone()
    file = io.BytesIO()
    torch.save(made, file)
    return file.getvalue()


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    small = ("--data", "glyphs:1000", "--hidden", 32, "--steps", 30, "--sample-every", 0)
    return trained("run", "vae", *small)


class Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """uint8 (3, H, W), as torch-fidelity wants them."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = widened(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.images[i]


@pytest.mark.slow
def test_the_numbers_are_those_of_torch_fidelity(
    cli: Cli, run: Path, fidelity: Any, random_weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Fake(monkeypatch, Path("random.pth"), random_weights)
    asked = ("evaluate", run, "--metrics", ALL, "--n", N, "--device", "cpu", "--json")
    result = cli(*asked, "--inception", file.path.resolve())
    assert result.code == 0, result.err
    (record,) = json.loads(result.out)
    found = {name: entry["mean"] for name, entry in record["values"].items()}

    samples = gentool.load(run / "model.safetensors").sample(N, seed=0)
    data = gentool.data.load(gentool.data.DataOptions(data="glyphs:1000"))
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:N].sort()
    real = torch.from_numpy(np.ascontiguousarray(data.train.x[rows.values.numpy()]))
    theirs = fidelity.calculate_metrics(
        input1=Pictures(torch.from_numpy(to_pixels(samples.numpy()))),
        input2=Pictures(real),
        **dict.fromkeys(("fid", "kid", "isc", "prc"), True),
        feature_extractor="inception-v3-compat",  # by default it takes VGG-16 for prc
        feature_extractor_weights_path=str(file.path),
        kid_subset_size=N,
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
    )
    pairs = {
        "fid": "frechet_inception_distance",
        "kid_inception": "kernel_inception_distance_mean",
        "inception_score": "inception_score_mean",
        "inception_score_sd": "inception_score_std",
        "precision_inception": "precision",
        "recall_inception": "recall",
    }
    for ours, name in pairs.items():
        assert found[ours] == pytest.approx(theirs[name], rel=1e-4), ours
    assert found["fid"] > 0 and found["inception_score"] > 1
    floor = record["values"]["fid"]["floor"]["mean"]
    assert 0 < floor < found["fid"]  # a model of 30 steps is worse than test images

    noted = record["inception"]
    assert noted["file"]["sha256"] == weights.PUBLISHED.sha256
    assert noted["colour"] == "grey widened to RGB" and noted["comparable"] is False
    assert noted["tf32"] is False and noted["n"] == N and noted["versions"]["torch-fidelity"]
    assert "compare with no published FID" in result.err and "biased" in result.err
    assert str(Path.cwd()) not in json.dumps(record)

    # The second time the safetensors copy serves, and the published file is not needed.
    file.path.unlink()
    copy = weights.kept_copy(Path("cache"))
    assert copy.is_file()
    again = weights.load(None, Path("cache"))
    original = torch.load(io.BytesIO(random_weights), weights_only=True)
    assert again.keys() == original.keys()
    assert all(torch.equal(again[name], original[name]) for name in again)
    copy.write_bytes(copy.read_bytes()[:-1000] + bytes(1000))
    with pytest.raises(UserError, match="are not here"):
        weights.load(None, Path("cache"))


class Bomb:
    """A pickle of it leaves a file where it is executed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("executed").touch, ()


def _saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_only_the_published_file_is_read(
    cli: Cli, run: Path, fidelity: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = _saved({"fc.weight": torch.zeros(3)})
    file = Fake(monkeypatch, Path("weights.pth"), good)
    never = pytest.MonkeyPatch()
    never.setattr(torch, "load", lambda *a, **k: pytest.fail("it was read"))
    wrong = {
        "wrong hash": (good[:-1] + bytes([good[-1] ^ 1]), "has the SHA-256"),
        "truncated": (good[:-10], "was not read"),
        "code": (pickle.dumps(Bomb()), "was not read"),
        "empty": (b"", "was not read"),
    }
    for what, (content, words) in wrong.items():
        file.path.write_bytes(content)
        result = cli("evaluate", run, "--metrics", "fid", "--n", N, "--inception", file.path)
        assert result.code == 2 and words in result.err, (what, result.err)
        assert len(result.err.strip().splitlines()) == 1
    for missing in ("nowhere.pth", "/dev/zero", ".", "a\0b"):
        result = cli("evaluate", run, "--metrics", "fid", "--n", N, "--inception", missing)
        assert result.code == 2 and "--inception" in result.err, result.err
    never.undo()
    assert not Path("executed").exists() and not (run / "results").exists()


@pytest.mark.parametrize("make", [pickle.dumps, lambda b: _saved({"fc.weight": b}), _saved])
def test_code_is_not_executed_even_with_the_right_hash(
    make: Callable[[Any], bytes],
    cli: Cli,
    fidelity: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = Fake(monkeypatch, tmp_path / "weights.pth", make(Bomb()))
    with pytest.raises(UserError, match="not executed"):
        weights.load(str(file.path), tmp_path)
    assert not Path("executed").exists() and not weights.kept_copy(tmp_path).exists()


def test_other_weights_are_told(
    cli: Cli, run: Path, fidelity: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Fake(monkeypatch, Path("weights.pth"), _saved({"fc.weight": torch.zeros(3)}))
    result = cli("evaluate", run, "--metrics", "fid", "--n", N, "--inception", file.path)
    assert result.code == 2 and "another network" in result.err, result.err


def test_without_torchvision_it_says_so(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    result = cli("evaluate", run, "--metrics", "fid", "--n", N)
    assert result.code == 2 and "torchvision" in result.err and "gentool[fid]" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_the_published_file_is_fetched_by_name(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the mechanism of data sets: into the cache, held to its hash, and found there."""
    content = _saved({"fc.weight": torch.zeros(3)})
    file = Fake(monkeypatch, tmp_path / "random.pth", content)
    served = Published("inception", ("http://127.0.0.1:9/",), (weights.PUBLISHED,))
    monkeypatch.setattr(published, "INCEPTION", served)
    refused = cli("data", "fetch", "inception")
    assert refused.code == 2 and "random.pth" in refused.err, refused.err
    with Server() as server:
        server.files["random.pth"] = content
        served = Published("inception", (server.url,), (weights.PUBLISHED,))
        monkeypatch.setattr(published, "INCEPTION", served)
        fetched = cli("data", "fetch", "inception")
    assert fetched.code == 0 and "as published" in fetched.out, fetched.err
    found = weights.load(None, Path("cache"))
    assert found.keys() == {"fc.weight"} and file.path.is_file()


def test_the_published_file_is_the_public_one() -> None:
    """Its name ends in the first digits of its hash, as torch's hub checks it."""
    assert weights.PUBLISHED.name.endswith(weights.PUBLISHED.sha256[:8] + ".pth")
