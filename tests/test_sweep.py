"""Sweeps and seeds: planned, trained, killed, gone on with, and what fails kept apart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from gentool.errors import UserError
from gentool.sweep import plan

Cli = Callable[..., Result]

SMALL = ("--data", "glyphs:200", "--hidden", 8, "--sample-every", 0, "--device", "cpu")


def results(folder: Path) -> dict[str, str]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    return {row["run"]: row["state"] for row in map(json.loads, lines)}


def what_was_learned(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """A run's weights and its rows, without how fast it was."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("examples_per_s", None)
    return (run / "model.safetensors").read_bytes(), rows


def test_seeds_are_runs_in_one_folder(cli: Cli) -> None:
    done = cli("train", "vae", *SMALL, "--steps", 3, "--seeds", "0-1,5", "--out", "group")
    assert done.code == 0 and done.out == "group\n", done.err
    assert results(Path("group")) == dict.fromkeys(("seed=0", "seed=1", "seed=5"), "finished")
    alone = cli("train", "vae", *SMALL, "--steps", 3, "--seed", 5, "--out", "alone")
    assert alone.code == 0, alone.err
    assert what_was_learned(Path("group/seed=5")) == what_was_learned(Path("alone"))
    assert what_was_learned(Path("group/seed=0")) != what_was_learned(Path("alone"))
    again = cli("train", "vae", *SMALL, "--steps", 3, "--seeds", "0-1,5", "--out", "group")
    assert again.code == 0 and "3 of 3 runs have ended before" in again.err
    other = cli("train", "vae", *SMALL, "--steps", 4, "--seeds", "0-1,5", "--out", "group")
    assert other.code == 2 and "another sweep" in other.err
    assert cli("sample", "group/seed=1", "--n", 4, "--out", "x.png").code == 0


EIGHT = ("--over", "lr=1e-3,1e-4", "--over", "latent_dim=2,3", "--seeds", "0-1")


@pytest.mark.slow
def test_killed_twice_it_ends_as_if_undisturbed(cli: Cli) -> None:
    options = ("sweep", "vae", *SMALL, "--epochs", 4, *EIGHT)
    whole = cli(*options, "--out", "whole")
    assert whole.code == 0 and len(results(Path("whole"))) == 8, whole.err
    killed = Path("killed")
    command = [sys.executable, "-m", "gentool", *map(str, options), "--out", "killed"]
    for ended in (1, 4):  # in the middle of the next run
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        ledger = killed / "results.jsonl"
        while not (ledger.exists() and len(results(killed)) >= ended):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(0.03 * ended)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = results(killed)
    assert 4 <= len(before) < 8
    done = cli("resume", "killed")
    assert done.code == 0 and results(killed) == dict.fromkeys(results(Path("whole")), "finished")
    for name in results(killed):
        assert what_was_learned(killed / name) == what_was_learned(Path("whole") / name), name
    names = {"lr": ("0.001", "0.0001"), "latent_dim": ("2", "3"), "seed": ("0", "1")}
    for name in results(killed):
        config = json.loads((killed / name / "config.json").read_text())
        for part in name.split(","):
            option, value = part.split("=")
            assert value in names[option]
            assert float((config["config"] | config["settings"])[option]) == float(value)


def test_what_fails_is_kept_apart_and_the_rest_goes_on(cli: Cli) -> None:
    options = ("sweep", "vae", *SMALL, "--steps", 8, "--over", "lr=1e30,1e-3", "--out", "s")
    done = cli(*options)
    assert done.code == 1 and "failed: lr=1e+30" in done.err, done.err
    states = {"lr=1e+30": "failed", "lr=0.001": "finished"}
    assert results(Path("s")) == states
    assert Path("s/failed/lr=1e+30/config.json").is_file() and not Path("s/lr=1e+30").exists()
    again = cli(*options)
    assert again.code == 1 and "training vae" not in again.err  # known failures are not repeated
    tried = cli(*options, "--retry-failed")
    assert tried.code == 1 and tried.err.count("training vae") == 1
    assert Path("s/failed/lr=1e+30,2/config.json").is_file() and results(Path("s")) == states


@pytest.mark.slow
def test_several_at_a_time(cli: Cli) -> None:
    options = ("sweep", "vae", *SMALL, "--steps", 8, "--over", "lr=1e30,1e-3", "--jobs", 2)
    done = cli(*options, "--out", "s")
    assert done.code == 1, done.err
    assert results(Path("s")) == {"lr=1e+30": "failed", "lr=0.001": "finished"}
    assert "no longer finite" in done.err, done.err
    assert Path("s/logs/lr=0.001.log").is_file()


def test_who_is_stopped_while_starting_has_not_failed(cli: Cli) -> None:
    options = ("sweep", "vae", *SMALL, "--steps", 4, "--seeds", "0-1", "--jobs", 2)
    done = cli(*options, "--out", "s", "--max-time", "0.2")
    assert done.code == 0 and "go on with: gentool resume s" in done.err, done.err
    assert "failed" not in done.err and not Path("s/results.jsonl").exists()
    assert cli("resume", "s").code == 0 and len(results(Path("s"))) == 2


def test_a_run_killed_before_its_config_begins_anew(cli: Cli) -> None:
    (Path("s") / "seed=0" / "samples").mkdir(parents=True)
    (Path("s") / "seed=0" / ".config.aaaaaaaa.tmp.json").write_text("{")
    options = ("train", "vae", *SMALL, "--steps", 2, "--seeds", "0", "--out", "s")
    assert "not empty" in cli(*options).err  # it is no sweep yet
    sweep = plan.planned("vae", {"data": "glyphs:200", "steps": 2}, None, {"seed": [0]})
    (Path("s") / "sweep.json").write_text(json.dumps(sweep.to_json()))
    done = cli("resume", "s")
    assert done.code == 0 and results(Path("s")) == {"seed=0": "finished"}, done.err
    (Path("s") / "results.jsonl").unlink()
    (Path("s") / "seed=0" / "config.json").unlink()
    told = cli("resume", "s")  # a folder with something in it is not cleared
    assert told.code == 1 and "move it away" in told.err


def test_time_that_is_up_says_how_to_go_on(cli: Cli) -> None:
    options = ("train", "vae", *SMALL, "--epochs", 4, "--seeds", "0-1", "--out", "s")
    done = cli(*options, "--max-time", "0.001")
    assert done.code == 0 and "gentool resume s" in done.err, done.err
    assert json.loads(Path("s/sweep.json").read_text())["options"].keys().isdisjoint({"max_time"})
    assert cli("resume", "s").code == 0 and len(results(Path("s"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--over", "lr"), "write it as"),
        (("--over", "lr="), "has no values"),
        (("--over", "learning=1"), "is no option"),
        (("--over", "lr=1e-4,x"), "it takes a number"),
        (("--over", "lr=1e-4,0.0001"), "a value twice"),
        (("--over", "lr=1e-4", "--over", "lr=1e-3"), "given twice"),
        (("--over", "lr=-1,1"), "more than 0"),
        (("--over", "lr=1,2", "--lr", "3"), "vary as well"),
        (("--over", "epochs=1,2", "--over", "steps=1"), "give one of them"),
        (("--over", "max_time=1,2"), "cannot vary"),
        (("--seeds", "2-1"), "names no seeds"),
        (("--seeds", "1,1"), "a seed twice"),
        (("--seeds", "a"), "0-2"),
        (("--seeds", "0-1", "--over", "seed=1"), "are the same"),
        (("--seeds", "0-9999", "--over", "lr=1,2"), "1 to 10,000"),
        ((), "needs what varies"),
        (("--seeds", "0", "--jobs", "0"), "jobs"),
    ],
)
def test_mistakes_are_one_sentence(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    result = cli("sweep", "vae", *arguments)
    assert result.code == 2 and words in result.err, result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_names_are_folders_that_need_no_quotes() -> None:
    fields = plan.fields_for("vae")
    over = plan.read_over(["hidden=64,32;128", "data=../a b/c,x;y"], fields)
    assert over == {"hidden": [[64, 32], [128]], "data": ["../a b/c", "x;y"]}
    cells = plan.Sweep("vae", {}, over).cells()
    assert [c.name for c in cells][:2] == ["hidden=64+32,data=..-a-b-c", "hidden=64+32,data=x-y"]
    twins = plan.Sweep("vae", {}, {"data": ["a b", "a-b", "A-B"]}).cells()
    assert [c.name for c in twins] == ["001,data=a-b", "002,data=a-b", "003,data=A-B"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format_version": 1, "model": 3, "options": {}, "over": {}}']
)
def test_a_strangers_sweep_is_refused_in_a_sentence(cli: Cli, content: str, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(content)
    result = cli("resume", "s")
    assert result.code == 2 and "does not describe a sweep" in result.err, result.err


def test_a_strangers_sweep_leads_nowhere(cli: Cli, tmp_path: Path) -> None:
    """Its runs are below it, and it does not choose the cache."""
    shared = {"data": "glyphs:200", "steps": 1, "cache": str(tmp_path / "theirs")}
    sweep = {"format_version": 1, "model": "vae", "options": shared, "over": {"seed": [0]}}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(sweep))
    (tmp_path / "s" / "seed=0").symlink_to(tmp_path / "elsewhere")
    result = cli("resume", "s")
    assert result.code == 1 and "is a link" in result.err
    assert not any((tmp_path / "elsewhere").iterdir()) and not (tmp_path / "theirs").exists()
    with pytest.raises(UserError, match="unknown option"):
        plan.Sweep("vae", {"outt": 1}, {"seed": [0]}).check()
