"""Modes and KL of a GAN on Stacked MNIST, after stated shares of a shipped recipe.

    python benchmarks/stacked_mnist.py --recipe stacked-mnist --images 128000 640000
    python benchmarks/stacked_mnist.py --recipe stacked-mnist-pac2 --images 128000 640000

One run is trained on and judged at each number of images seen; with --out it is kept, and another
call goes on from there. PacGAN's paper has DCGAN at 99 modes with KL 3.40 and PacDCGAN2 at 1,000
with 0.06. Run it where ``mnist`` is found: a folder of that name, or see ``gentool data list``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parents[1] / "gentool" / "recipes"
RESULTS = Path(__file__).parent / "results" / "stacked_mnist.json"


def gentool(*arguments: object) -> str:
    command = [sys.executable, "-m", "gentool", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(given: argparse.Namespace, out: Path) -> Iterator[dict[str, Any]]:
    """Train into `out`, and count what --n samples reach after each number of images."""
    recipe = RECIPES / f"{given.recipe}.toml"
    own = dict(option.split("=", 1) for option in given.option)
    batch = int(own.get("batch-size") or tomllib.loads(recipe.read_text("utf-8"))["batch-size"])
    flags = [part for name, value in own.items() for part in (f"--{name}", value)]
    common = ("--device", given.device, "--seed", given.seed, "--sample-every", 0)
    for images in sorted(given.images):
        steps = images // batch
        began = time.perf_counter(), processor_seconds()
        if out.exists():
            gentool("resume", out, "--steps", steps)
        else:
            which = ("--config", recipe, "--data", given.data, "--steps", steps)
            gentool("train", "dcgan", *which, *common, *flags, "--out", out)
        wall, processor = time.perf_counter() - began[0], processor_seconds() - began[1]
        yield {
            "recipe": given.recipe,
            "options": given.option,
            "data": given.data,
            "seed": given.seed,
            "images": steps * batch,
            "updates": steps,
            **judged(out, given),
            "stage_seconds": round(wall),
            "stage_processor_seconds": round(processor),
        }


def processor_seconds() -> float:
    """Of all programs that were run so far; on a busy machine it says more than the wall clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(out: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Modes and KL of --n samples, and of as many real images."""
    how = ("--metrics", "classes", "--n", given.n, "--device", given.device, "--json")
    record = json.loads(gentool("evaluate", out, *how))
    modes, kl = record["values"]["classes"], record["values"]["class_kl"]
    return {
        "modes": modes["mean"],
        "kl": round(kl["mean"], 4),
        "real_modes": modes["floor"]["mean"],
        "real_kl": round(kl["floor"]["mean"], 4),
        "classifier_accuracy": round(record["classifier"]["accuracy"], 4),
        "samples": given.n,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", default="stacked-mnist", help="a shipped one, by its name")
    parser.add_argument("--images", type=int, nargs="+", default=[128_000])
    parser.add_argument("--data", default="stacked-mnist")
    parser.add_argument("--n", type=int, default=26_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, help="the run; default: a temporary folder")
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row in run(given, given.out or Path(folder) / "run"):
            print(json.dumps(row), flush=True)
            kept = json.loads(given.json.read_text()) if given.json.exists() else []
            given.json.parent.mkdir(exist_ok=True)
            given.json.write_text(json.dumps([*kept, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
