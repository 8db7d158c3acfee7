"""`gentool plugins new`: what it writes, and what it refuses. test_examples.py installs it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Result

from gentool import scaffold
from gentool.errors import UserError

Cli = Callable[..., Result]


def test_it_writes_a_package_and_says_what_is_next(cli: Cli) -> None:
    done = cli("plugins", "new", "my-flow")
    assert done.code == 0 and done.out == "my-flow\n"
    for step in ("-m pip install -e 'my-flow[test]' && ", "gentool train my-flow && ", "-m pytest"):
        assert step in done.err
    written = sorted(str(p.relative_to("my-flow")) for p in Path("my-flow").rglob("*.*"))
    assert written == [
        ".gitignore",
        "README.md",
        "gentool_my_flow/__init__.py",
        "gentool_my_flow/model.py",
        "pyproject.toml",
        "tests/test_model.py",
    ]
    project = tomllib.loads(Path("my-flow/pyproject.toml").read_text())
    assert project["project"]["entry-points"]["gentool"] == {"my-flow": "gentool_my_flow"}
    for path in Path("my-flow").rglob("*.*"):
        assert "$" not in path.read_text(), f"{path} holds an unfilled place"
    assert cli("plugins", "new", "other", "--out", "deep/er").out == "deep/er\n"


@pytest.mark.parametrize(
    "name",
    ["", "My", "9lives", "a b", "../up", "/tmp/x", "a--b", "-a", "a-", "a" * 31, "käse", "a\n"],
)
def test_names_that_cannot_be_a_packages(name: str, cli: Cli) -> None:
    result = cli("plugins", "new", "--", name)
    assert result.code == 2 and "cannot be a package's name" in result.err
    assert result.err.count("\n") == 1 and not list(Path().iterdir())


@pytest.mark.parametrize(("name", "words"), [("vae", "model called"), ("onnx", "gentool_onnx")])
def test_names_that_are_taken(name: str, words: str, cli: Cli) -> None:
    result = cli("plugins", "new", name)
    assert result.code == 2 and words in result.err and not Path(name).exists()


def test_nothing_is_overwritten(cli: Cli) -> None:
    Path("flow").mkdir()
    Path("flow/mine.txt").write_text("mine")
    Path("dangling").symlink_to("nowhere")
    for name in ("flow", "dangling"):
        result = cli("plugins", "new", name)
        assert result.code == 2 and "already exists" in result.err
    assert [p.name for p in Path("flow").iterdir()] == ["mine.txt"]


def test_a_package_that_cannot_be_written_whole_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scaffold.PLACES, "no_such_template.in", "x")
    with pytest.raises(UserError, match="cannot write the package"):
        scaffold.write("flow", tmp_path / "flow")
    assert not (tmp_path / "flow").exists()


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("name", ["f", "my-flow", "a-name-of-thirty-letters-in-al"])
def test_what_it_writes_is_clean(name: str, tmp_path: Path) -> None:
    folder = scaffold.write(name, tmp_path / name)
    rules = ["--select", "E,F,W,I,B,UP", "--ignore", "E501", "--line-length", "100", "--isolated"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
