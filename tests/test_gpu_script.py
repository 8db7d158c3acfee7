"""`make gpu` with a stand-in for Python: the order of its steps, its time limit, its archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.sh"
STAND_IN = """#!/bin/sh
case "$*" in
  *get_device_name*) echo "NVIDIA Test 1";;
  *"FAILS"*) exit 3;;
  *" train "*) for out; do :; done; mkdir -p "$out"; : >"$out/model.safetensors";;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def run(tmp_path: Path, **variables: str) -> tuple[int, list[str], Path]:
    """The exit status, the summary's lines and the results folder."""
    python = tmp_path / "python"
    python.write_text(STAND_IN.replace("FAILS", variables.pop("fails", "nothing")))
    python.chmod(0o755)
    results = tmp_path / "results"
    environment = {**os.environ, "PYTHON": str(python), "RESULTS": str(results), **variables}
    done = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True)
    return done.returncode, (results / "summary.txt").read_text().splitlines(), results


def test_what_decides_comes_first_and_everything_is_packed(tmp_path: Path) -> None:
    status, lines, results = run(tmp_path, COMMIT="abc123")
    assert status == 0, lines
    names = [line.split()[0] for line in lines]
    order = ["library", "tests", "captured", "kernels", "memcheck", "synccheck", "resume"]
    assert [n for n in names if n in order] == order
    with tarfile.open(f"{results}.tar.gz") as archive:
        packed = archive.getnames()
    assert {f"results/{n}.log" for n in names} <= set(packed)
    assert "commit abc123" in (results / "environment.log").read_text()


def test_a_failure_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    status, lines, _ = run(tmp_path, fails="captured_training")
    assert status == 1
    (failed,) = (line for line in lines if "status   0" not in line)
    assert failed.split()[:3] == ["captured", "status", "3"]
    assert lines[-1].startswith("prefetch")


def test_without_time_the_summary_says_so(tmp_path: Path) -> None:
    status, lines, _ = run(tmp_path, BUDGET="0")
    assert status == 1 and all("left out" in line for line in lines)


def test_a_library_that_is_handed_over_is_not_built(tmp_path: Path) -> None:
    _, _, built = run(tmp_path, fails="kernels build")
    assert "status   3" in (built / "summary.txt").read_text()
    status, lines, _ = run(tmp_path, fails="kernels build", LIBRARY=str(tmp_path))
    assert status == 0, lines
