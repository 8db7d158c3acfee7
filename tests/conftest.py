"""Shared fixtures: running the command line in-process, and where real data may lie."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gentool.cli.main import main

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Run `gentool ARGS` in an empty working directory with its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["gentool", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of MNIST's IDX files."""
    path = SHARED_DATA / "mnist"
    if not path.is_dir():
        pytest.skip("MNIST is not here (../shared/data/mnist)")
    return path
