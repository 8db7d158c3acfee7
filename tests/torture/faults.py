"""Makes every write of a run fail once as on a full disk, then resumes the run.

python tests/torture/faults.py            every write
python tests/torture/faults.py --every 7  every seventh
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torture.forked import start, wait

COMMAND = [
    *("train", "vae", "--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2"),
    *("--epochs", "2", "--batch-size", "32", "--out"),
]
POINTS = ("fsync", "open")


def full_disk(point: str, at: int | None, counter: Path) -> Callable[[], None]:
    """What to do in the child: count calls, and from call number `at` on the disk is full.

    Once full, a disk stays full: later writes fail as well.
    """

    def prepare() -> None:
        calls = 0
        real: Callable[..., Any] = getattr(os, point)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            writes = point == "fsync" or (len(arguments) > 1 and arguments[1] & os.O_CREAT)
            if writes:
                calls += 1
                if at is None:
                    counter.write_text(str(calls))
                elif calls > at:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        setattr(os, point, wrapper)

    return prepare


def torture(every: int) -> int:
    """Inject a fault at every `every`-th write; returns how many were injected."""
    injected = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, counter, run = folder / "log", folder / "count", folder / "run"
        for point in POINTS:
            whole = folder / f"whole-{point}"
            code = wait(start([*COMMAND, str(whole)], log, full_disk(point, None, counter)))
            assert code == 0, log.read_text()
            expected = (whole / "model.safetensors").read_bytes()
            for at in range(0, int(counter.read_text()), every):
                shutil.rmtree(run, ignore_errors=True)
                code = wait(start([*COMMAND, str(run)], log, full_disk(point, at, counter)))
                said = log.read_text()
                told = said.strip().splitlines()[-1]
                assert code == 2 and told.startswith("gentool: "), f"{point} {at}: {code}\n{said}"
                assert "No space left" in told and "Traceback" not in said, said
                injected += 1
                again = ["resume", str(run)]
                if not (run / "config.json").exists():
                    shutil.rmtree(run, ignore_errors=True)
                    again = [*COMMAND, str(run)]
                assert wait(start(again, log)) == 0, log.read_text()
                assert (run / "model.safetensors").read_bytes() == expected, f"{point} {at}"
    return injected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    injected = torture(parser.parse_args().every)
    print(f"{injected} writes failed as on a full disk; every run resumed to identical weights")


if __name__ == "__main__":
    main()
