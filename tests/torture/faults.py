"""Makes every write of a training, and of a resumed one, fail once as on a full disk; then goes on.

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
    *("--batch-size", "32"),
]
POINTS = ("fsync", "open", "pwrite")


def full_disk(point: str, at: int | None, counter: Path) -> Callable[[], None]:
    """What to do in the child: count calls, and from call number `at` on the disk is full.

    Once full, a disk stays full: later writes fail as well.
    """

    def prepare() -> None:
        calls = 0
        real: Callable[..., Any] = getattr(os, point)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            writes = point != "open" or (len(arguments) > 1 and arguments[1] & os.O_CREAT)
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, half = folder / "whole", folder / "half"
        log = folder / "log"
        train = [*COMMAND, "--epochs", "2", "--out"]
        assert wait(start([*train, str(whole)], log)) == 0, log.read_text()
        shorter = [*COMMAND, "--epochs", "1", "--out", str(half)]
        assert wait(start(shorter, log)) == 0, log.read_text()
        expected = (whole / "model.safetensors").read_bytes()
        run = folder / "run"
        injected = 0
        for point in POINTS:
            injected += _faults(folder, point, every, [*train, str(run)], None, expected)
            resume = ["resume", str(run), "--epochs", "2"]
            injected += _faults(folder, point, every, resume, half, expected)
    return injected


def _faults(
    folder: Path, point: str, every: int, command: list[str], before: Path | None, expected: bytes
) -> int:
    """Fail each write of a command, which trains a new run or resumes a copy of one."""
    log, counter, run = folder / "log", folder / "count", folder / "run"

    def begin() -> None:
        shutil.rmtree(run, ignore_errors=True)
        if before is not None:
            shutil.copytree(before, run)

    begin()
    code = wait(start(command, log, full_disk(point, None, counter)))
    assert code == 0, log.read_text()
    chosen = range(0, int(counter.read_text()), every)
    for at in chosen:
        begin()
        code = wait(start(command, log, full_disk(point, at, counter)))
        said = log.read_text()
        told = said.strip().splitlines()[-1]
        assert code == 2 and told.startswith("gentool: "), f"{command[0]} {point} {at}:\n{said}"
        assert "No space left" in told and "Traceback" not in said, said
        again = ["resume", str(run), "--epochs", "2"]
        if not (run / "config.json").exists():
            shutil.rmtree(run, ignore_errors=True)
            again = command
        assert wait(start(again, log)) == 0, log.read_text()
        assert (run / "model.safetensors").read_bytes() == expected, f"{point} {at}"
    return len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    injected = torture(parser.parse_args().every)
    print(f"{injected} writes failed as on a full disk; every run resumed to identical weights")


if __name__ == "__main__":
    main()
