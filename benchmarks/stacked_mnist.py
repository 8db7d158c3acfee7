"""Modes and KL of a GAN on Stacked MNIST after a stated share of the shipped recipe.

    python benchmarks/stacked_mnist.py --data stacked-mnist --epochs 1
    python benchmarks/stacked_mnist.py --model gan --epochs 2 --option pack=2

The recipe is 50 epochs on 128,000 images; PacGAN's paper has DCGAN at 99 modes with KL 3.40 and
PacDCGAN2 at 1,000 with 0.06. Run it where ``mnist`` is found (see ``gentool data list``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).resolve().parents[1] / "gentool" / "recipes" / "stacked-mnist.toml"
RESULTS = Path(__file__).parent / "results" / "stacked_mnist.json"


def gentool(*arguments: object) -> str:
    command = [sys.executable, "-m", "gentool", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train into `out` and count what 26,000 samples (or --n) reach."""
    config = ["--config", RECIPE] if given.model == "dcgan" else ["--batch-size", 64]
    own = [part for option in given.option for part in _flag(option)]
    began = time.perf_counter()
    gentool(
        *("train", given.model, *config, "--data", given.data, "--epochs", given.epochs),
        *("--device", given.device, "--seed", given.seed, "--sample-every", 0, "--out", out, *own),
    )
    seconds = time.perf_counter() - began
    judged = ("--metrics", "classes", "--n", given.n, "--device", given.device, "--json")
    record = json.loads(gentool("evaluate", out, *judged))
    values = record["values"]
    return {
        "model": given.model,
        "options": given.option,
        "data": given.data,
        "epochs": given.epochs,
        "seed": given.seed,
        "modes": values["classes"]["mean"],
        "kl": round(values["class_kl"]["mean"], 4),
        "real_modes": values["classes"]["floor"]["mean"],
        "real_kl": round(values["class_kl"]["floor"]["mean"], 4),
        "classifier_accuracy": round(record["classifier"]["accuracy"], 4),
        "samples": given.n,
        "train_seconds": round(seconds),
    }


def _flag(option: str) -> list[str]:
    name, _, value = option.partition("=")
    return [f"--{name}", value] if value else [f"--{name}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="dcgan")
    parser.add_argument("--data", default="stacked-mnist")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--n", type=int, default=26_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--option", action="append", default=[], help="an option of the model")
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = run(given, Path(folder) / "run")
    print(json.dumps(row, indent=1))
    kept = json.loads(given.json.read_text()) if given.json.exists() else []
    given.json.parent.mkdir(exist_ok=True)
    given.json.write_text(json.dumps([*kept, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
