"""Odd names, numbers, variables and files around the program: a sentence, never a traceback."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool import runs
from gentool.errors import UserError

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--steps", "2")
LONG = "9" * 5000


def told(result: Result, *words: str) -> None:
    assert result.code == 2, result
    (line,) = result.err.splitlines()
    assert line.startswith("gentool: ") and len(line) < 600
    assert all(word in line for word in words), line


def test_numbers_of_thousands_of_digits(cli: Cli) -> None:
    Path("long.toml").write_text(f"steps = {LONG}\n")
    Path("list.toml").write_text(f"hidden = [{'9' * 4000}, 3]\n")
    told(cli("train", "vae", "--config", "long.toml"), "long.toml")
    told(cli("train", "vae", "--config", "list.toml"), "--hidden", "digits")
    for option in ("--steps", "--seed", "--hidden", "--latent-dim", "--threads", "--save-every"):
        told(cli("train", "vae", option, LONG), option)
    for option in ("--n", "--seed", "--k", "--seeds"):
        told(cli("evaluate", option, LONG), option)
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["1e23", "1" + "0" * 23])
def test_seeds_that_no_generator_takes(cli: Cli, value: str) -> None:
    for command in (("train", "vae", *SMALL), ("sample",), ("evaluate",)):
        told(cli(*command, "--seed", value), "--seed")


def test_a_config_that_never_ends(cli: Cli) -> None:
    """A pipe is fine, as ``--config <(…)`` makes one; an endless one is not."""
    reading, writing = os.pipe()
    os.write(writing, b"steps = -1\n")
    os.close(writing)
    told(cli("train", "vae", "--config", f"/dev/fd/{reading}"), "--steps is -1")
    os.close(reading)
    told(cli("train", "vae", "--config", "/dev/zero"), "/dev/zero", "longer than")


@pytest.mark.parametrize("kind", ["pipe", "link", "endless", "bytes", "long", "zero"])
def test_a_pointer_to_the_latest_run_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    latest = Path("runs/.latest")
    latest.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(latest)
    elif kind == "link":
        latest.symlink_to("/etc/passwd")
    elif kind == "endless":
        latest.touch()
        os.truncate(latest, 2**40)
    else:
        content = {"bytes": b"\xff\xfe\n", "long": b"x" * 5000, "zero": b"a\0b"}[kind]
        latest.write_bytes(content)
    with pytest.raises(UserError, match=r"no run here yet|is gone"):
        runs.latest()


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="needs bytes")
def test_a_folder_whose_name_is_no_text(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(folder).mkdir()
    monkeypatch.chdir(folder)
    assert cli("train", "vae", *SMALL).code == 0
    result = cli("sample", "--n", 4)
    assert result.code == 0, result
    for command in (("resume",), ("runs", "list"), ("runs", "show"), ("data", "inspect", folder)):
        result = cli(*command)
        assert "Traceback" not in result.err and result.code in (0, 2), result
    assert cli("sample", Path(folder) / "runs/vae-glyphs-001", "--n", 4).code == 0


@pytest.mark.slow
def test_names_of_300_characters(cli: Cli) -> None:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    name = "x" * 300
    commands = [
        ("sample", "run", "--out", f"{name}.png"),
        ("sample", "run", "--out", f"{name}.npz"),
        ("sample", "run", "--out", f"{name}/"),
        ("sample", "run", "--z", f"{name}.npy"),
        ("sample", name),
        ("resume", name),
        ("evaluate", name),
        ("export", "run", f"{name}.onnx"),
        ("runs", "show", name),
        ("data", "inspect", name),
        ("data", "inspect", "glyphs:20", "--out", f"{name}.png"),
        ("train", "vae", "--data", name),
        ("train", "vae", "--config", name),
        ("train", name),
        ("plugins", "new", name),
        ("verify", name),
    ]
    for command in commands:
        told(cli(*command))


@pytest.mark.parametrize("value", ["abc", "0", "-1", "", "9" * 300])
def test_a_number_of_processes_that_is_none(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    told(cli("train", "vae", *SMALL), "WORLD_SIZE")


def test_processes_that_cannot_meet(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    told(cli("train", "vae", *SMALL), "did not find each other", "torchrun")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        told(cli("train", "vae", *SMALL), "is in use", "--master-port")
