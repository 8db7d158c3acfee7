"""A terminal that goes away in the middle of training, as when a connection breaks."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gentool.train.state import load_newest

TRAIN = ("-m", "gentool", "train", "vae", "--data", "glyphs:256", "--hidden", "16")


def training_on_a_terminal(out: Path, *args: str, ignore: bool = False) -> tuple[int, int]:
    """Start training as a terminal's session leader; returns its process and the other end."""
    pid, other_end = pty.fork()
    if pid == 0:
        # Ignored as `nohup` has it, or not, whatever this suite itself was started by.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignore else signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, *TRAIN, *args, "--out", str(out)])
    return pid, other_end


def hang_up(terminal: int) -> None:
    """Close the terminal once training is under way; the kernel sends SIGHUP."""
    seen = b""
    until = time.monotonic() + 600
    while b"epoch 2/" not in seen:
        assert time.monotonic() < until, seen
        seen += os.read(terminal, 4096)
    os.close(terminal)


def exit_code(pid: int) -> int:
    until = time.monotonic() + 600
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(ended[1])


@pytest.mark.slow
def test_a_lost_terminal_saves_and_the_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    pid, terminal = training_on_a_terminal(out, "--steps", "1000000")
    hang_up(terminal)
    assert exit_code(pid) == 128 + signal.SIGHUP
    step = load_newest(out / "state").values["step"]
    assert 2 <= step < 1_000_000
    command = [sys.executable, "-m", "gentool", "resume", str(out), "--steps", str(step + 2)]
    went_on = subprocess.run(command, check=False, capture_output=True, text=True)
    assert went_on.returncode == 0, went_on.stderr
    assert load_newest(out / "state").values["step"] == step + 2


@pytest.mark.slow
def test_training_that_was_let_go_outlives_its_terminal(tmp_path: Path) -> None:
    pid, terminal = training_on_a_terminal(tmp_path / "run", "--steps", "400", ignore=True)
    hang_up(terminal)
    assert exit_code(pid) == 0
    assert load_newest(tmp_path / "run" / "state").values["step"] == 400


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = shlex.join([sys.executable, "-m", "gentool", "models"])
    assert subprocess.run(f"{command} {closed}", shell=True, check=False).returncode == 0
    wrong = shlex.join([sys.executable, "-m", "gentool", "train", "nosuch"])
    assert subprocess.run(f"{wrong} {closed}", shell=True, check=False).returncode == 2
