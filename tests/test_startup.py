"""What must stay light: help and listings never import torch, nor a plugin they do not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROBE = """
import sys
sys.argv = ["gentool", *{arguments!r}]
from gentool.cli.main import main
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "matplotlib", "numpy", "pydantic"}} & set(sys.modules)
print("HEAVY", sorted(heavy), "gentool_gan" in sys.modules)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["models"], ["train", "--help"], ["train", "vae", "--help"]],
    ids=" ".join,
)
def test_no_heavy_import(arguments: list[str]) -> None:
    code = PROBE.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("HEAVY []"), last
    if arguments[:2] == ["train", "vae"]:
        assert last.endswith("False"), "training one model imported another's plugin"


def test_importing_the_package_has_no_side_effects() -> None:
    code = "import sys, gentool; print('torch' in sys.modules, 'pluggy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_waiting_threads_soon_sleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from gentool.cli.main import share_cores

    for given, expected in (({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        monkeypatch.setattr(os, "environ", dict(given))
        share_cores()
        assert os.environ["GOMP_SPINCOUNT"] == expected
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "active"})
    share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("verb", ["", "train vae", "export", "sample"])
def test_help_fits_the_terminal(columns: int, verb: str) -> None:
    """No line is longer, and an argument is written as it is typed."""
    command = [sys.executable, "-m", "gentool", *verb.split(), "--help"]
    environment = {**os.environ, "COLUMNS": str(columns)}
    page = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = page.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    if verb == "export":
        assert lines[0].endswith("gentool export [OPTIONS] [RUN|FILE] OUT")
    if not verb:
        assert [line for line in lines if line.endswith(":") and line[0] != " "] == [
            "Options:",
            "Make:",
            "Use:",
            "Judge:",
            "Extend:",
        ]
