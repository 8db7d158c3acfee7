"""Modes and high-quality samples of recipes for the toy mixtures, for several seeds.

    python benchmarks/toy_modes.py gentool/recipes/wgan-ring.toml --seeds 0 1 2

A sample is of high quality within 3σ of the nearest mode's centre; a mode counts when at least
one sample of high quality lands there (Lin et al. 2018, PacGAN, section 4.1). 2,500 samples.
Each recipe is trained through the command line, so the time is that of ``gentool train``.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gentool
from gentool.data.sources import points

RESULTS = Path(__file__).parent / "results" / "toy_modes.json"
SAMPLES = 2500
WITHIN = 3.0  # standard deviations


def count_modes(x: np.ndarray, source: str) -> tuple[int, int, float]:
    """Modes that samples (N, 2) reach, modes there are, and the share of high quality."""
    centres, sigma = points.modes(source)
    distance = np.linalg.norm(x[:, None] - centres[None], axis=-1)
    good = distance.min(axis=1) <= WITHIN * sigma
    return len(np.unique(distance.argmin(axis=1)[good])), len(centres), float(good.mean())


def run(recipe: Path, seed: int, threads: int, out: Path) -> dict[str, Any]:
    """Train one recipe with one seed into `out`, and score what it samples."""
    settings = tomllib.loads(recipe.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "gentool", "train", settings["model"], "--config", str(recipe)]
    command += ["--seed", str(seed), "--threads", str(threads), "--out", str(out)]
    began, used = time.perf_counter(), cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, used = time.perf_counter() - began, cpu_seconds() - used
    x = gentool.load(out).sample(SAMPLES, seed=seed).numpy()
    reached, modes, share = count_modes(x, settings["data"])
    return {
        "recipe": recipe.stem,
        "data": settings["data"],
        "seed": seed,
        "modes": reached,
        "of": modes,
        "high_quality": round(share, 4),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "threads": threads,
    }


def cpu_seconds() -> float:
    """Processor time of finished child processes: what a busy machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    kept = json.loads(options.json.read_text())["runs"] if options.json.exists() else []
    print(f"{'recipe':<16}{'seed':>5}{'modes':>9}{'high quality':>14}{'seconds':>9}{'cpu s':>8}")
    for recipe in options.recipes:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                row = run(recipe, seed, options.threads, Path(folder) / "run")
            reached = f"{row['modes']}/{row['of']}"
            print(
                f"{row['recipe']:<16}{seed:>5}{reached:>9}"
                f"{row['high_quality']:>14.1%}{row['seconds']:>9.0f}{row['cpu_seconds']:>8.0f}",
                flush=True,
            )
            kept = [r for r in kept if (r["recipe"], r["seed"]) != (row["recipe"], seed)] + [row]
            options.json.parent.mkdir(exist_ok=True)
            machine = {"torch": torch.__version__, "machine": platform.machine()}
            text = json.dumps({**machine, "samples": SAMPLES, "runs": kept}, indent=1)
            options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
