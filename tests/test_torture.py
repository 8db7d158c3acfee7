"""The torture harnesses in their short form; `make torture` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "torture"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("kill.py", ("--models", "vae", "wgan", "--kills", "3")),
        ("faults.py", ("--every", "17")),
        ("fuzz.py", ("--count", "400", "--seed", "7")),
        ("hammer.py", ("cache", "--count", "200")),
        ("hammer.py", ("lock", "--count", "2000")),
    ],
)
def test_runs_survive_the_short_form_of_the_harnesses(
    script: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
