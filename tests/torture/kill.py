"""Kills training at random moments, resumes it, and compares with an undisturbed run.

python tests/torture/kill.py --kills 50            every model, 50 SIGKILLs each
python tests/torture/kill.py --models vae --kills 5
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torture.forked import start, wait

COMMON = ["--data", "glyphs:128", "--batch-size", "32", "--ema", "0.9", "--log-every", "2"]
SMALL = {
    "vae": ["--hidden", "16", "--latent-dim", "4", "--epochs", "12"],
    "gan": ["--hidden", "16", "--epochs", "10"],
    "dcgan": ["--width", "4", "--epochs", "6"],
    "wgan": ["--width", "4", "--critic-steps", "2", "--epochs", "6"],
}


class Mismatch(Exception):
    """A resumed run is not the undisturbed one."""


def rows(run: Path) -> list[dict[str, object]]:
    """The metrics without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "examples_per_s"} for x in lines]


def undisturbed(model: str, folder: Path) -> float:
    """Train once without interruption; returns the seconds it took."""
    began = time.monotonic()
    command = ["train", model, *COMMON, *SMALL[model], "--out", str(folder / "whole")]
    code = wait(start(command, folder / "whole.log"))
    if code != 0:
        raise Mismatch((folder / "whole.log").read_text())
    return time.monotonic() - began


def disturbed(model: str, folder: Path, seconds: float, chance: random.Random) -> int:
    """Train with SIGKILLs at random moments until the run is finished; returns how many."""
    run, log = folder / "killed", folder / "killed.log"
    shutil.rmtree(run, ignore_errors=True)
    kills = 0
    while True:
        if not (run / "config.json").exists():  # killed before there was a run at all
            shutil.rmtree(run, ignore_errors=True)
            command = ["train", model, *COMMON, *SMALL[model], "--out", str(run)]
        else:
            command = ["resume", str(run)]
        code = wait(start(command, log), chance.uniform(0, 0.9 * seconds))
        if code == 0:
            break
        if code is not None:
            raise Mismatch(f"{model}: exit code {code} after {kills} kills:\n{log.read_text()}")
        kills += 1
    whole = folder / "whole"
    for name in ("model.safetensors", "best.safetensors"):
        if (whole / name).exists() and (whole / name).read_bytes() != (run / name).read_bytes():
            raise Mismatch(f"{model}: {name} differs after {kills} kills")
    if rows(run) != rows(whole):
        raise Mismatch(f"{model}: metrics.jsonl differs after {kills} kills")
    left = [str(p) for p in run.rglob(".*.tmp*")]
    if left:
        raise Mismatch(f"{model}: temporary files are left: {left}")
    return kills


def torture(model: str, wanted: int, seed: int) -> tuple[int, int]:
    """Kill runs of a model until `wanted` kills are reached; returns kills and runs."""
    chance = random.Random(f"{model}{seed}")
    kills = runs = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = undisturbed(model, folder)
        while kills < wanted:
            kills += disturbed(model, folder, seconds, chance)
            runs += 1
    return kills, runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=sorted(SMALL), choices=sorted(SMALL))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for model in given.models:
        kills, runs = torture(model, given.kills, given.seed)
        print(f"{model}: {kills} kills over {runs} runs, every result identical", flush=True)


if __name__ == "__main__":
    main()
