"""What every test stands on: the environment it sees, the command line in-process, real data."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

if "PYTEST_XDIST_WORKER" in os.environ:  # one core a worker; read when torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A plugin that happens to be installed beside gentool is none of the suite's business: a test
# that brings one names it, with monkeypatch.setenv.
os.environ["GENTOOL_PLUGINS"] = "gentool"
os.environ.pop("GENTOOL_TRACE", None)

# Neither decoded data nor the names of runs come to lie beside the user's own.
if "GENTOOL_CACHE" not in os.environ:
    os.environ["GENTOOL_CACHE"] = tempfile.mkdtemp(prefix="gentool-tests-")
    atexit.register(shutil.rmtree, os.environ["GENTOOL_CACHE"], ignore_errors=True)

# How long an example takes depends on the machine, so neither its time nor the time to think of
# it makes a test fail.
hypothesis_settings.register_profile(
    "gentool", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("gentool")

from gentool.cli.main import main  # noqa: E402  (after the environment is as it shall be)

TEST_DATA = Path(
    os.environ.get("GENTOOL_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)
"""The folder that holds real data sets, `mnist/` among them; tests without it are skipped."""


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


_TRAINED: dict[str, Path] = {}


@pytest.fixture
def trained(
    cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Train as `gentool train ARGS --out NAME`: once for equal ARGS, and a copy for each test."""

    def train(name: str, *arguments: object) -> Path:
        key = repr(arguments)
        if key not in _TRAINED:
            original = tmp_path_factory.mktemp("trained") / "run"
            result = cli("train", *arguments, "--out", original)
            assert result.code == 0, result.err
            _TRAINED[key] = original
        return Path(shutil.copytree(_TRAINED[key], name))

    return train


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    """A small VAE of two epochs on glyphs: `run` in the working directory of `cli`."""
    options = "--data glyphs:128 --hidden 8 --latent-dim 2 --batch-size 32 --epochs 2 --threads 1"
    return trained("run", "vae", *options.split()).resolve()


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of MNIST's IDX files."""
    path = TEST_DATA / "mnist"
    if not path.is_dir():
        pytest.skip(f"{path} is not here; GENTOOL_TEST_DATA names the folder that holds mnist/")
    return path
