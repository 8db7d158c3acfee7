"""What goes wrong around the program is told in a sentence, and ends no training."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool.cachefolder import cache_folder
from gentool.cli import main as cli_main
from gentool.errors import UserError, os_sentence
from gentool.files import expanded
from gentool.streams import BUS_ERROR, RESULTS, LastingStream

Cli = Callable[..., Result]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def gentool(
    folder: Path, *arguments: object, **streams: object
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GENTOOL_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "gentool", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, cwd=folder, env=env, text=True, timeout=300, **pipes)


@needs_full
@pytest.mark.parametrize("verb", ["--version", "--help", "data list", "models --json"])
def test_results_for_which_there_is_no_room(tmp_path: Path, verb: str) -> None:
    with FULL.open("w") as full:
        done = gentool(tmp_path, *verb.split(), stdout=full)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gentool: {RESULTS}: No space left on device; free some space")


@needs_full
@pytest.mark.slow
def test_training_outlives_a_full_disk_under_its_log(tmp_path: Path) -> None:
    options = ("--data", "glyphs:64", "--hidden", "8", "--epochs", "2", "--out", "run")
    with FULL.open("w") as full:
        assert gentool(tmp_path, "train", "vae", *options, stderr=full).returncode == 0
        assert gentool(tmp_path, "resume", "run", "--epochs", "3", stderr=full).returncode == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count('"epoch": 3') >= 2


@pytest.mark.slow
def test_training_outlives_whoever_reads_its_log(tmp_path: Path) -> None:
    """``gentool train … 2>&1 | head -1``"""
    reading, writing = os.pipe()
    os.close(reading)
    options = ("--data", "glyphs:64", "--hidden", "8", "--epochs", "2", "--out", "run")
    done = gentool(tmp_path, "train", "vae", *options, stdout=writing, stderr=writing)
    os.close(writing)
    assert done.returncode in (0, 1), "1 where the path on stdout found no reader either"
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count('"epoch": 2') >= 2
    assert (tmp_path / "run" / "curves.png").exists()


class Failing:
    def __init__(self, number: int) -> None:
        self.number = number

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def flush(self) -> None:
        self.write("")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EPIPE])
def test_what_a_failing_stream_does(number: int) -> None:
    LastingStream(Failing(number), results=False).write("progress is dropped")
    with pytest.raises(OSError) as caught:
        LastingStream(Failing(number), results=True).write("a result is not")
    assert caught.value.filename == (None if number == errno.EPIPE else RESULTS)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "x\x1by"), ("x\\x1by: No space left", "free some")),
        (OSError(errno.EMFILE, "Too many open files", b"a\xff"), ("ulimit", "a\\udcff")),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ("Cannot allocate", "too little memory")),
        (OSError("strange"), ("strange",)),
        (FileNotFoundError(errno.ENOENT, "gone", "a", None, "b"), ("a and b: gone",)),
        (OSError(), ("OSError",)),
    ],
)
def test_the_systems_refusals_are_sentences(error: OSError, words: tuple[str, ...]) -> None:
    sentence = os_sentence(error)
    assert all(word in sentence for word in words) and sentence.isprintable()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "x"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't "
                     "allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("unable to mmap 99 bytes from file <x>: Cannot allocate memory (12)"),
    ],
)  # fmt: skip
def test_no_traceback_of_the_system(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli_main, "app", failing)
    result = cli("models")
    assert result.code == 2 and result.err.startswith("gentool: ")
    assert len(result.err.splitlines()) == 1


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    """The system's answer to such an access is a signal."""
    code = f"""
import os, numpy as np
from gentool.streams import explain_bus_errors
explain_bus_errors()
x = np.memmap({str(tmp_path / "x")!r}, np.uint8, "w+", 0, (2**20,))
os.truncate({str(tmp_path / "x")!r}, 1)
x.sum()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, BUS_ERROR)


def test_a_user_of_whom_the_system_knows_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is run by a bare number, with no HOME."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GENTOOL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert cache_folder() == Path("/nonexistent/gentool") or not cache_folder().exists()
    monkeypatch.setattr("gentool.cachefolder._home", lambda: Path("/dev/null"))
    result = cli("data", "inspect", "glyphs:20")
    assert result.code == 0 and "decoded anew" in result.out


def test_nobodys_home(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="home folder in ~nouser/x is not known"):
        expanded("~nouser/x")
    for command in (
        ("train", "vae", "--data", "~nouser/x"),
        ("data", "inspect", "~nouser/x"),
        ("data", "inspect", "glyphs:20", "--cache", "~nouser/x"),
    ):
        result = cli(*command)
        assert result.code == 2 and "~nouser/x" in result.err, result
        assert len(result.err.splitlines()) == 1
