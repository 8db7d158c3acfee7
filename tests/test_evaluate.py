"""``gentool evaluate`` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result

from gentool.metrics import features, swd, table
from gentool.metrics.records import summary

Cli = Callable[..., Result]

BRIEF = ("--sample-every", 0)
QUICK = ("--n", 100, "--nll-n", 20, "--k", 30, "--device", "cpu")


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STEPS", 40)
    monkeypatch.setattr(swd, "PROJECTIONS", 32)


@pytest.fixture
def vae(trained: Callable[..., Path]) -> Path:
    small = ("--data", "glyphs:1000", "--hidden", 32, "--steps", 30)
    return trained("run", "vae", *small, *BRIEF)


@pytest.fixture
def ring(trained: Callable[..., Path]) -> Path:
    small = ("--data", "ring:3000", "--hidden", 16, "--steps", 20)
    return trained("ring", "vae", *small, *BRIEF)


def test_a_run_is_judged_and_remembers_it(cli: Cli, vae: Path) -> None:
    result = cli("evaluate", vae, *QUICK, "--json")
    assert result.code == 0, result.err
    (record,) = json.loads(result.out)
    kept = list((vae / "results").glob("evaluate-*.json"))
    assert len(kept) == 1 and json.loads(kept[0].read_text()) == record
    assert (vae / "results" / "neighbours.png").is_file()
    for name in ("loss", "kl", "nll", "active_units", "frechet", "kid", "precision", "1nn", "ndb"):
        assert name in record["values"]
    assert record["settings"]["n"] == 100 and record["settings"]["samples"] == "uint8"
    assert record["features"]["name"] == "classifier" and len(record["features"]["hash"]) == 12
    assert record["classifier"] == record["features"] and record["features"]["accuracy"] > 0.3
    assert record["data"]["fingerprint"] and record["versions"]["torch"]
    assert "fid" not in record["values"]
    # Every distance has its floor, and an untrained model is above it.
    for name in ("frechet", "kid", "swd", "js"):
        entry = record["values"][name]
        assert entry["mean"] > 2 * entry["floor"]["mean"]
    assert str(Path.cwd()) not in result.out
    again = cli("evaluate", vae, *QUICK, "--json")
    assert json.loads(again.out)[0]["values"] == record["values"]
    assert len(list((vae / "results").glob("evaluate-*.json"))) == 1


def test_the_elbo_is_what_training_logged(cli: Cli, vae: Path) -> None:
    (record,) = json.loads(cli("evaluate", vae, "--metrics", "elbo", "--json").out)
    rows = [json.loads(line) for line in (vae / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in rows if row["split"] == "test"][-1]
    for name in ("loss", "neg_elbo", "recon", "kl"):
        assert record["values"][name]["mean"] == pytest.approx(logged[name], rel=1e-5)


@pytest.mark.slow
def test_several_seeds_give_a_spread(cli: Cli, ring: Path) -> None:
    wanted = ("--metrics", "swd,modes,1nn", "--n", 300, "--seeds", 3)
    (record,) = json.loads(cli("evaluate", ring, *wanted, "--json").out)
    entry = record["values"]["swd"]
    assert len(set(entry["values"])) == 3 and len(entry["floor"]["values"]) == 3
    assert entry["spread"] > 0
    assert entry["mean"] == pytest.approx(sum(entry["values"]) / 3)
    assert record["values"]["modes"]["floor"]["mean"] == 8
    assert 0.97 < record["values"]["high_quality"]["floor"]["mean"] <= 1
    assert record["features"]["name"] == "coordinates"
    shown = cli("evaluate", ring, *wanted)
    assert "±" in shown.out and "real vs real" in shown.out
    assert "3 in all" in shown.err


@pytest.mark.slow
def test_several_runs_are_compared(cli: Cli, ring: Path) -> None:
    cli("train", "gan", "--data", "ring:3000", "--steps", 20, "--sample-every", 0, "--out", "other")
    result = cli("evaluate", ring, "other", "--metrics", "swd,nll", "--n", 200)
    assert result.code == 2 and "nll needs a model with a likelihood" in result.err
    result = cli("evaluate", ring, "other", "--metrics", "swd", "--n", 200)
    head, row = result.out.splitlines()[:2]
    assert head.split()[:2] == ["ring", "other"]
    assert row.startswith("swd") and len(row.split()) == 5
    assert len(list(Path("other/results").glob("*.json"))) == 1


def test_a_lone_file_needs_data(cli: Cli, vae: Path) -> None:
    lone = Path("lone.safetensors")
    lone.write_bytes((vae / "model.safetensors").read_bytes())
    result = cli("evaluate", lone, "--metrics", "swd", "--n", 20)
    assert result.code == 2 and "--data" in result.err
    result = cli("evaluate", lone, "--metrics", "swd", "--n", 20, "--data", "glyphs:1000")
    assert result.code == 0 and "swd" in result.out
    assert not Path("results").exists()
    inside = cli("evaluate", vae / "model.safetensors", "--metrics", "swd", "--n", 20)
    assert inside.code == 0 and (vae / "results").is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metrics", "frechett"), "did you mean 'frechet'"),
        (("--metrics", ","), "names none"),
        (("--metrics", "modes"), "needs the toy data"),
        (("--metrics", "fid"), "fid"),
        (("--n", "5"), "at least 10"),
        (("--n", "5000"), "give at most"),
        (("--seeds", "0"), "at least 1"),
        (("--neighbours", "500"), "must be less"),
        (("--features", "inception"), "one of auto"),
        (("--data", "ring:500"), "of shape (2,)"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(
    cli: Cli, vae: Path, arguments: tuple[str, str], words: str
) -> None:
    result = cli("evaluate", vae, *arguments)
    assert result.code == 2 and words in result.err, result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (vae / "results").exists()


def test_data_that_changed_is_reported(cli: Cli, vae: Path) -> None:
    config = vae / "config.json"
    config.write_text(config.read_text().replace('"glyphs:1000"', '"glyphs:1100"'))
    result = cli("evaluate", vae, "--metrics", "elbo")
    assert result.code == 0 and "has changed since" in result.err


def test_the_list_needs_no_run(cli: Cli) -> None:
    result = cli("evaluate", "--list")
    assert result.code == 0 and "frechet" in result.out and "not FID" in result.out
    listed = json.loads(cli("evaluate", "--list", "--json").out)
    assert {m["name"] for m in listed} >= {"nll", "prdc", "memorisation"}


def test_only_the_built_in_ring_has_known_modes(cli: Cli, ring: Path) -> None:
    """A file called ring is not the ring."""
    np.save("ring.npy", np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32))
    result = cli("evaluate", ring, "--data", "ring.npy", "--metrics", "modes", "--n", 20)
    assert result.code == 2 and "needs the toy data" in result.err
    result = cli("evaluate", ring, "--data", "ring:800", "--metrics", "modes", "--n", 20)
    assert result.code == 0, result.err


@pytest.mark.slow
def test_a_conditional_model_on_data_without_its_labels(cli: Cli) -> None:
    """Samples are drawn of all classes alike; what needs the labels is left out."""
    small = ("--hidden", 16, "--steps", 5, *BRIEF)
    cli("train", "vae", "--data", "glyphs:300", "--conditional", *small, "--out", "c")
    np.save("plain.npy", np.random.default_rng(0).integers(256, size=(200, 28, 28), dtype=np.uint8))
    result = cli("evaluate", "c", "--data", "plain.npy", "--metrics", "swd", "--n", 20)
    assert result.code == 0, result.err
    result = cli("evaluate", "c", "--data", "plain.npy", "--metrics", "nll", "--n", 20)
    assert result.code == 2 and "leave it out" in result.err


def test_what_is_not_finite_is_null_in_json() -> None:
    entry = summary([1.0, float("nan")])
    assert entry == {"mean": None, "spread": None, "values": [1.0, None]}
    assert table.number(entry) == "not finite"
