"""Runs seen and steered from anywhere: the list, its states, and who may be told to stop."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gentool import index
from gentool.cli.runs_list import size
from gentool.folder import Folder
from gentool.runs import Run
from gentool.train.lock import holder_of, locked
from gentool.train.standing import standing
from gentool.train.status import SIZE, Status, StatusFile, read_status

Cli = Callable[..., Any]

SMALL = ("vae", "--data", "glyphs:256", "--hidden", "8", "--batch-size", "64", "--steps", "4")


def listed(cli: Cli, *options: str) -> list[dict[str, Any]]:
    result = cli("runs", "list", "--json", *options)
    assert result.code == 0, result.err
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def moved(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.mkdir()
    monkeypatch.chdir(path)


def test_every_run_is_listed_from_anywhere_with_what_it_was_asked(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("train", *SMALL, "--seed", "5").code == 0
    assert cli("train", *SMALL, "--latent-dim", "3", "--out", "far/away").code == 0
    moved(monkeypatch, tmp_path / "elsewhere")
    rows = listed(cli)
    assert [Path(r["run"]).name for r in rows] == ["vae-glyphs-001", "away"]
    assert [r["seed"] for r in rows] == [5, 0] and all(r["state"] == "finished" for r in rows)
    assert [r["changed"].get("latent_dim") for r in rows] == [None, 3]
    assert all(r["step"] == r["steps"] == 4 and r["size"] > 1000 for r in rows)
    assert listed(cli, "--here") == []
    for name in ("show", "logs"):
        assert cli("runs", name, "away").code == 0
    shown = cli("runs", "show", "away").out
    assert str(tmp_path / "far" / "away" / "model.safetensors") in shown
    assert max(len(word.rstrip(",")) for word in shown.split() if word[:1].isdigit()) < 15
    assert cli("sample", "away", "--n", 4, "--out", "s.png").code == 0, "other verbs find it too"


def test_two_runs_of_one_name_are_told_apart_and_never_guessed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a", "b"):
        assert cli("train", *SMALL, "--out", f"{place}/same").code == 0
    moved(monkeypatch, tmp_path / "elsewhere")
    result = cli("runs", "show", "same")
    assert result.code == 2
    assert all(str(tmp_path / place / "same") in result.err for place in ("a", "b"))
    table = cli("runs", "list").out
    assert all(f"{place}/same" in table for place in ("a", "b"))
    shutil.rmtree(tmp_path / "a" / "same")
    assert cli("runs", "show", "same").code == 0
    assert len(listed(cli)) == 1 and len(index.known()) == 1


def test_where_and_sort(cli: Cli, tmp_path: Path) -> None:
    for lr, name in (("0.01", "x"), ("0.001", "y"), ("0.1", "z")):
        assert cli("train", *SMALL, "--lr", lr, "--out", name).code == 0
    assert cli("runs", "tag", "y", "good one", "short").out == "good one\nshort\n"

    def names(*options: str) -> list[str]:
        return [Path(row["run"]).name for row in listed(cli, *options)]

    assert names("--sort", "lr") == ["y", "x", "z"] == names("--sort", "-lr")[::-1]
    assert names("--where", "lr<0.05", "--where", "model=vae", "--sort", "lr") == ["y", "x"]
    assert names("--where", "tag=good one") == ["y"] and names("--where", "model=gan") == []
    assert names("--where", "tag!=short", "--sort", "lr") == ["x", "z"]
    elbos = [row["last"]["test"]["neg_elbo"] for row in listed(cli, "--sort", "neg_elbo")]
    assert elbos == sorted(elbos)
    assert cli("runs", "tag", "y", "short", "--remove").out == "good one\n"
    for wrong in (("--where", "model"), ("--where", "=vae"), ("--sort", "nothing")):
        assert cli("runs", "list", *wrong).code == 2
    assert cli("runs", "tag", "y", "\x1b[31m").code == 2
    assert json.loads(cli("runs", "diff", "x", "z", "--json").out) == {"lr": [0.01, 0.1]}


def test_one_bad_run_or_entry_never_breaks_the_list(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *SMALL, "--out", "good").code == 0
    for name in ("pipe", "garbage", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}" if name != "garbage" else "[" * 10**5)
        index.remember(tmp_path / name)
    os.mkfifo(tmp_path / "pipe" / "metrics.jsonl")
    os.mkfifo(tmp_path / "pipe" / "lock")
    (tmp_path / "pipe" / "status.json").write_text('{"state": "\x1b[31m", "step": -1}')
    (tmp_path / "pipe" / "tags.json").write_text('[1, "", "a\x1b"]')
    shutil.rmtree(tmp_path / "gone")
    entries = index.place()
    os.mkfifo(entries / ("0" * 32))
    (entries / ("1" * 32)).write_bytes(b"/etc\n")
    (entries / ("2" * 32)).symlink_to("/etc/passwd")
    (entries / "note").write_text("mine")
    rows = listed(cli)
    assert {Path(r["run"]).name for r in rows} == {"pipe", "garbage", "good"}
    result = cli("runs", "list")
    assert result.code == 0 and "\x1b" not in result.out and "garbage" in result.err
    assert (entries / "note").read_text() == "mine"


def test_a_status_is_read_as_it_was_written_and_nothing_else_is(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        assert read_status(folder) is None
        status = Status("failed", 7, 10, 1, 2, 3.5, "“no” \ud800" + "ä" * 1000)
        StatusFile(folder).write(status)
        assert (tmp_path / "status.json").stat().st_size == SIZE
        found = read_status(folder)
        assert found is not None and (found.state, found.step, found.epochs) == ("failed", 7, 2)
        StatusFile(folder).write(Status("finished"))
        assert read_status(folder).state == "finished"  # type: ignore[union-attr]
        for text in ("{", "[]", '{"state": "flying"}', "9" * 5000):
            (tmp_path / "status.json").write_text(text)
            assert read_status(folder) is None


def test_a_run_from_before_the_status_is_judged_by_its_rows(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *SMALL, "--out", "run").code == 0
    run = tmp_path / "run"
    (run / "status.json").unlink()
    assert standing(Run(run)).state == "finished"
    config = json.loads((run / "config.json").read_text())
    config["settings"]["steps"] = 5
    (run / "config.json").write_text(json.dumps(config))
    assert standing(Run(run)).state == "stopped"


def test_what_ended_in_an_error_has_failed(cli: Cli, tmp_path: Path) -> None:
    diverging = ("--lr", "1e30", "--steps", "30")
    assert cli("train", *SMALL[:-2], *diverging, "--out", "run").code == 2
    (row,) = listed(cli)
    assert row["state"] == "failed" and "no longer finite" in row["reason"]


def test_the_holder_of_a_run_is_seen_and_looking_at_it_takes_nothing(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        assert holder_of(folder) is None
        with locked(tmp_path):
            holder = holder_of(folder)
            assert holder is not None and holder.pid == os.getpid() and holder.is_here
        assert holder_of(folder) is None
        (tmp_path / "lock").write_text("{}")
        assert holder_of(folder) is None
        with locked(tmp_path):
            pass


@contextmanager
def bystander() -> Iterator[int]:
    """A process of this user that has nothing to do with any run."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield other.pid
        assert other.poll() is None, "a process that holds no lock was signalled"
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="no /proc/locks here")
def test_only_the_process_that_holds_the_lock_is_signalled(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    assert "nobody is training" in cli("runs", "stop", "run").err
    for command in ("stop", "checkpoint"):
        assert cli("runs", command, "run").code == 2
    with bystander() as pid, (run / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held by this process, in another's name
        for note, words in (
            ({"pid": pid, "host": socket.gethostname()}, "nothing was signalled"),
            ({"pid": pid, "host": "elsewhere"}, "on that machine"),
            ({"pid": 2**31, "host": socket.gethostname()}, "nothing was signalled"),
            ({"pid": -1, "host": socket.gethostname()}, "does not name"),
        ):
            (run / "lock").write_text(json.dumps(note))
            result = cli("runs", "stop", "run", "--wait", "0")
            assert result.code == 2 and words in result.err, result.err
    with bystander() as pid, (run / "lock").open("w") as file, (run / "lock").open() as reader:
        os.set_inheritable(reader.fileno(), True)
        fcntl.flock(file, fcntl.LOCK_EX)
        # It has the file open and does not lock it.
        opened = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[reader.fileno()]
        )
        try:
            note = {"pid": opened.pid, "host": socket.gethostname()}
            (run / "lock").write_text(json.dumps(note))
            assert "nothing was signalled" in cli("runs", "stop", "run", "--wait", "0").err
            assert opened.poll() is None
        finally:
            opened.kill()
            opened.wait()


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = (*SMALL[:-1], "100000", "--sample-every", "0", "--out", str(out), *more)
    return subprocess.Popen(
        [sys.executable, "-m", "gentool", "train", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="no /proc/locks here")
def test_one_of_two_is_stopped_from_elsewhere_and_goes_on_as_if_undisturbed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(monkeypatch, tmp_path / "work")
    first, second = start(Path("one")), start(Path("two"), "--seed", "1")
    try:
        paths = [tmp_path / "work" / name for name in ("one", "two")]
        until(lambda: all((path / "metrics.jsonl").exists() for path in paths))
        moved(monkeypatch, tmp_path / "elsewhere")
        until(lambda: all(row["step"] > 0 for row in listed(cli)))
        assert {r["pid"] for r in listed(cli, "--where", "state=training")} == {
            first.pid,
            second.pid,
        }
        saved = cli("runs", "checkpoint", "two")
        assert saved.code == 0 and Path(saved.out.strip()).parent == paths[1] / "state"
        assert second.poll() is None
        stopped = cli("runs", "stop", "one")
        assert stopped.code == 0 and "gentool resume" in stopped.err, stopped.err
        assert first.wait(60) == 128 + signal.SIGTERM and second.poll() is None
        assert cli("runs", "logs", "one").out.count("\n") > 0
    finally:
        for process in (first, second):
            process.terminate()
            process.wait()
    step = standing(Run(paths[0])).step
    assert {row["state"] for row in listed(cli)} == {"stopped"} and 0 < step < 100_000
    total = str(-(-step // 4) * 4 + 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli("resume", "one", "--steps", total).code == 0
    whole = (*SMALL[:-1], total, "--sample-every", "0", "--out", "whole", "--threads", "1")
    assert cli("train", *whole).code == 0
    one, undisturbed = ((p / "model.safetensors").read_bytes() for p in (paths[0], Path("whole")))
    assert one == undisturbed


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 999, 1500, 2.5e6, 3e13)] == [
        "0 B", "999 B", "2 kB", "2.5 MB", "30.0 TB",
    ]  # fmt: skip
