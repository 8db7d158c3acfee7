"""A classifier from the cache is the one that was trained, or it is trained again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from gentool.data import DataOptions, load
from gentool.metrics import features
from gentool.metrics.kept import _KEY, digest_of, keep, read_back
from gentool.weights import read_tensors, save_tensors


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    keep(network(), tmp_path / "kept.safetensors")
    return tmp_path / "kept.safetensors"


def other() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_what_was_kept_is_read_back(kept: Path) -> None:
    read = other()
    assert read_back(read, kept)
    for a, b in zip(read.state_dict().values(), network().state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "damage", ["zeros", "no hash", "shape", "dtype", "nan", "missing", "pipe", "link", "text"]
)
def test_anything_else_is_passed_over_and_nothing_of_it_is_loaded(kept: Path, damage: str) -> None:
    tensors = read_tensors(kept)
    seal = None
    if damage == "zeros":
        seal = {_KEY: digest_of(tensors)}
        tensors = {k: torch.zeros_like(v) for k, v in tensors.items()}
    elif damage == "shape":
        tensors["2.bias"] = torch.zeros(3)
    elif damage == "dtype":
        tensors["0.bias"] = tensors["0.bias"].double()
    elif damage == "nan":
        tensors["0.bias"][0] = torch.nan
    elif damage == "missing":
        del tensors["2.bias"]
    if damage in ("pipe", "link", "text"):
        kept.rename(kept.parent / "real")
        if damage == "pipe":
            os.mkfifo(kept)
        elif damage == "link":
            kept.symlink_to(kept.parent / "real")
        else:
            kept.write_text("text")
    else:
        sealed = {} if damage == "no hash" else {_KEY: digest_of(tensors)}
        save_tensors(kept, tensors, seal or sealed)
    read = other()
    assert not read_back(read, kept)
    for a, b in zip(read.state_dict().values(), other().state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_zeroed_classifier_gives_no_perfect_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero weights map all images to one point: every distance between sets would be 0."""
    monkeypatch.setattr(features, "STEPS", 3)
    data = load(DataOptions(data="glyphs:60", cache=str(tmp_path)))
    cpu = torch.device("cpu")

    def classifier() -> features.Features:
        return features.classifier(data, tmp_path, cpu, lambda *_: None)[1]

    first = classifier()
    (path,) = (tmp_path / "classifiers").iterdir()
    save_tensors(path, {k: torch.zeros_like(v) for k, v in read_tensors(path).items()})
    again = classifier()
    assert again.hash == first.hash
    assert again(torch.from_numpy(data.test.x.copy())).std(0).max() > 0
