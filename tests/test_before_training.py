"""What is said before hours are spent, and what a training leaves behind or does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool import runs
from gentool.errors import UserError
from gentool.folder import Folder
from gentool.ops import cache, native
from gentool.train import opening
from gentool.train.claim import take_back
from gentool.train.distributed import World
from gentool.train.session import Session
from gentool.train.thinning import MOST, is_due, pictures_in, thin

Cli = Callable[..., Any]

SMALL = ("vae", "--data", "glyphs:256", "--hidden", "8", "--batch-size", "64", "--steps", "4")


def test_the_first_line_says_what_computes(cli: Cli) -> None:
    first = cli("train", *SMALL, "--threads", "1").err.splitlines()[0]
    assert first.startswith("training vae on glyphs into runs/vae-glyphs-001: cpu, "), first
    for part in ("kernels", "matrix products", "1 thread", "fp32"):
        assert part in first


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (native.Status(reason="no library has been built", remedy=native.BUILD), native.BUILD),
        (native.Status(reason="GENTOOL_KERNELS=off", remedy="x"), "not used: GENTOOL_KERNELS=off"),
        (native.Status(reason="built for torch 1, this is 2", remedy="x"), "this is 2"),
    ],
)
def test_kernels_that_are_not_used_are_one_sentence(
    status: native.Status, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(native, "_status", status)
    monkeypatch.setattr(native, "_devices", frozenset())
    compiler = tmp_path / "c++"
    compiler.write_text("")
    compiler.chmod(0o700)
    model: Any = torch.nn.Linear(1, 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    (sentence,) = opening.remarks(model, torch.device("cpu"))
    assert words in sentence and "\n" not in sentence
    monkeypatch.setenv("PATH", "")
    assert len(list(opening.remarks(model, torch.device("cpu")))) == (words != native.BUILD)
    monkeypatch.setattr(native, "_devices", frozenset({"cpu"}))
    assert not list(opening.remarks(model, torch.device("cpu")))


def test_another_cache_for_data_does_not_cost_the_kernels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(native.importlib.machinery, "EXTENSION_SUFFIXES", [])
    place = tmp_path / "own" / "gentool" / "kernels" / cache.key()
    place.mkdir(parents=True)
    assert [library for library, *_ in native._candidates()] == [place / cache.LIBRARY]


def test_grey_pixels_under_a_bernoulli_are_told_once_at_training(cli: Cli) -> None:
    assert cli("train", *SMALL).err.count("likelihood is Bernoulli's") == 1
    assert "Bernoulli" not in cli("train", *SMALL, "--binarize").err


def test_a_refused_training_leaves_no_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("train", *SMALL).code == 0
    latest, errors = runs.LATEST.read_bytes(), list[BaseException]()

    def refuse(self: Session, run: Any, folder: Any) -> Any:
        raise errors[-1]

    monkeypatch.setattr(Session, "trainer", refuse)
    (tmp_path / "mine").mkdir()
    for error in (UserError("no"), KeyboardInterrupt()):
        errors.append(error)
        for out in ((), ("--out", "new"), ("--out", "mine")):
            assert cli("train", *SMALL, *out).code != 0
    assert [p.name for p in (tmp_path / "runs").glob("[!.]*")] == ["vae-glyphs-001"]
    assert not (tmp_path / "new").exists() and not list((tmp_path / "mine").iterdir())
    assert runs.LATEST.read_bytes() == latest


def test_what_holds_something_is_not_taken_back(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "000000.png").write_text("a picture")
    take_back(runs.Run(tmp_path), None, keep_folder=False)
    assert (tmp_path / "samples" / "000000.png").exists()


def pictures(path: Path, epochs: int, every: int = 7) -> list[int]:
    path.mkdir(exist_ok=True)
    with Folder(path) as folder:
        for step in range(0, epochs * every + 1, every):
            if not is_due(folder, step):
                continue
            (path / f"{step:06d}.png").write_bytes(b"")
            thin(folder)
        return [int(name[:-4]) for name in pictures_in(folder)]


def test_a_film_of_any_length_has_a_bounded_number_of_evenly_spaced_pictures(
    tmp_path: Path,
) -> None:
    for epochs in (1, 3, MOST - 1, MOST, 200, 1111):
        steps = pictures(tmp_path / str(epochs), epochs)
        assert len(steps) <= MOST and (epochs < MOST) == (len(steps) == epochs + 1)
        gaps = {b - a for a, b in pairwise(steps)}
        assert len(gaps) == 1 and steps[0] == 0 and epochs * 7 - steps[-1] < gaps.pop()
    whole = pictures(tmp_path / "whole", 700)
    for part in (100, 333, 700):
        resumed = pictures(tmp_path / "parts", part)
    assert resumed == whole


def test_thinning_keeps_the_newest_and_what_is_no_picture(tmp_path: Path) -> None:
    names = [f"{i:06d}.png" for i in range(300)]
    for name in (*names, "mine.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with Folder(tmp_path) as folder:
        thin(folder)
        kept = pictures_in(folder)
    assert MOST // 2 <= len(kept) <= MOST and kept[0] == names[0] and kept[-1] == names[-1]
    assert (tmp_path / "mine.png").exists() and (tmp_path / "notes.txt").exists()


def test_a_plain_training_imports_no_compiler_and_draws_no_curve_of_one_point(
    tmp_path: Path,
) -> None:
    """What a second of every start would go to."""
    code = (
        "import sys; from gentool.cli.main import main\n"
        f"sys.argv = ['gentool', 'train', *{SMALL!r}, '--out', 'run']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch._dynamo', 'matplotlib', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert not (tmp_path / "run" / "curves.png").exists()
    assert "curves.png" not in (tmp_path / "run" / "README.md").read_text()


def test_processes_ask_each_other_only_every_few_steps() -> None:
    asked: list[int] = []

    class Two(World):
        def any(self, flag: bool) -> bool:
            asked.append(1)
            return True

    world = Two(torch.device("cpu"), 0, 2)
    assert [world.agrees(step, False) for step in (1, 9, 10, 11, 20)] == [0, 0, 1, 0, 1]
    assert len(asked) == 2 and not World(torch.device("cpu")).agrees(10, False)


FEW = ("--data", "glyphs:512", "--dry-run")


def test_a_dry_run_says_what_would_be_trained_and_makes_no_run(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "vae", "--hidden", "8", "--latent-dim", "3", *FEW, "--json")
    assert result.code == 0, result.err
    facts = json.loads(result.out)
    pixels, hidden, latent = 784, 8, 3
    encoder = (pixels + 1) * hidden + 2 * (hidden + 1) * latent
    decoder = (latent + 1) * hidden + (hidden + 1) * pixels
    (network,) = facts["networks"]
    assert (
        network["parameters"]
        == encoder + decoder
        == sum(layer["parameters"] for layer in network["layers"])
    )
    shapes = {layer["name"]: layer["shape"] for layer in network["layers"]}
    assert shapes["encoder.mu"] == [3] and shapes["decoder.out"] == [784]
    (player,) = facts["players"]
    assert "ELBO" in player["minimises"] and player["optimizer"].startswith("Adam(lr 0.001")
    assert facts["epochs"] == 10 and facts["steps"] == 10 * -(-facts["data"]["train"] // 128)
    assert facts["seconds"] >= facts["steps"] * facts["seconds_a_step"] > 0
    assert facts["memory"] > 2**20 and facts["picture"] is None
    result = cli("train", "wgan", "--data", "ring:512", "--hidden", "8", "--dry-run")
    assert result.code == 0, result.err
    for part in ("critic", "generator", "−E f(G(z))", "steps a round", "none was made"):
        assert part in result.out
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["wgan-dry-run.png"]
    assert cli("train", "vae", "--epochs", "0", "--dry-run").code == 2
    assert cli("runs", "list", "--json").out.strip() == "[]"
