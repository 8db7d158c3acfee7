"""A run from a stranger, whose every file leads elsewhere: nothing outside it is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--threads", "1")
VERBS = {
    "resume": ("resume", "work/run", "--steps", "6"),
    "evaluate": ("evaluate", "work/run", "--metrics", "elbo", "--features", "pixels", "--n", "10"),
    "sample": ("sample", "work/run", "--n", "4"),
    "sample out": ("sample", "work/run", "--n", "4", "--out", "out/grid.png"),
    "list": ("runs", "show", "work/run"),
}
WRITING = re.compile(
    r"^(?P<call>openat?2?|creat|rename\w*|unlink\w*|mkdir\w*|rmdir|link\w*|"
    r"symlink\w*|truncate|chmod|fchmodat|chown|lchown|fchownat|utimensat|mknod\w*)\((?P<rest>.*)$"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    gentool(folder, "train", "vae", *SMALL, "--steps", "2", "--out", "run")
    return folder / "run"


def gentool(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
    env = {**os.environ, "GENTOOL_CACHE": str(folder / "cache"), "HOME": str(folder / "home")}
    env["MPLCONFIGDIR"] = str(folder / "cache" / "matplotlib")
    env["TMPDIR"] = str(folder / "tmp")
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    (folder / "tmp").mkdir(exist_ok=True)
    command = [*before, sys.executable, "-m", "gentool", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def hostile(trained: Path, folder: Path, leads: str) -> Path:
    """A copy of the run in which the entries that `leads` says are links out of it."""
    home = folder / "home"
    for name in (".ssh", ".gnupg", "samples", "results"):
        (home / name).mkdir(parents=True)
        (home / name / "precious").write_text(name)
        (home / name / ".model.abcd1234.tmp.safetensors").write_text("looks like litter")
        os.utime(home / name, (1, 1))
    (home / "state").mkdir()
    shutil.copytree(trained / "state", home / "state" / "of another run")
    (home / "file").write_text("precious")
    run = folder / "work" / "run"
    shutil.copytree(trained, run)
    shutil.copytree(trained.parent / "cache", folder / "cache")
    config = json.loads((run / "config.json").read_text())
    (run / "x").mkdir()
    (run / "x" / "decoded").symlink_to(home)
    config["data_options"]["cache"] = str(run / "x")
    (run / "config.json").write_text(json.dumps(config))
    if leads == "files":
        for name in ("lock", "metrics.jsonl", "README.md", "curves.png", "samples.gif"):
            (run / name).unlink(missing_ok=True)
            (run / name).symlink_to(home / "file")
        for name in (".model.abcd1234.tmp.safetensors", ".profile.json"):
            (run / name).symlink_to(home / "file")
    elif leads == "folders":
        for name in ("samples", "sampled", "results"):
            shutil.rmtree(run / name, ignore_errors=True)
            (run / name).symlink_to(home / ("results" if name == "results" else "samples"))
    elif leads == "state":
        for step in (run / "state").iterdir():
            shutil.copytree(step, home / "state" / step.name)
        shutil.rmtree(run / "state")
        (run / "state").symlink_to(home / "state")
    elif leads == "pipes":
        for name in ("lock", "metrics.jsonl"):
            (run / name).unlink(missing_ok=True)
            os.mkfifo(run / name)
    return run


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, by content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path)] = "folder"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("leads", ["files", "folders", "state", "pipes"])
def test_nothing_outside_is_changed(trained: Path, tmp_path: Path, leads: str) -> None:
    hostile(trained, tmp_path, leads)
    before = fingerprint(tmp_path / "home")
    for verb in VERBS.values():
        code, said = gentool(tmp_path, *verb)
        assert code in (0, 2) and "Traceback" not in said, (verb, said)
        assert fingerprint(tmp_path / "home") == before, (verb, said)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("leads", ["files", "folders"])
def test_nothing_outside_is_opened_for_writing(trained: Path, tmp_path: Path, leads: str) -> None:
    """Every system call that makes, changes, renames or removes a file, as the kernel saw it."""
    run = hostile(trained, tmp_path, leads)
    allowed = [run, tmp_path / "out", tmp_path / "cache", tmp_path / "tmp", tmp_path / "runs"]
    for number, verb in enumerate(VERBS.values()):
        log = tmp_path / f"calls-{number}"
        log.mkdir()
        strace = ("strace", "-ff", "-y", "-qq", "-e", "trace=%file", "-o", str(log / "of"))
        gentool(tmp_path, *verb, before=strace)
        calls = [x for file in log.iterdir() for x in file.read_text(errors="replace").split("\n")]
        assert len(calls) > 100, "nothing was traced"
        wrong = [
            line
            for line in calls
            for path in touched(line, tmp_path)
            if not any(path.is_relative_to(place) for place in allowed)
        ]
        assert not wrong, f"{verb}:\n" + "\n".join(wrong[:20])


def touched(line: str, cwd: Path) -> list[Path]:
    """The paths that a traced call, one that succeeded, made, changed or removed."""
    match = WRITING.match(line)
    if match is None or re.search(r"= -1 E[A-Z]+", line):
        return []
    call, rest = match["call"], match["rest"]
    if call.startswith(("open", "creat")):
        if not re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", rest) and call != "creat":
            return []
        opened = re.search(r"\) = \d+<(.*)>$", rest)  # where the kernel got to, links followed
        found = [Path(opened[1])] if opened else []
    else:
        named = re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', rest)
        paths = [Path(folder or cwd) / name for folder, name in named]
        found = [path.parent.resolve() / path.name for path in paths]
    return [p for p in found if len(p.parts) > 1 and p.parts[1] not in ("dev", "proc")]
