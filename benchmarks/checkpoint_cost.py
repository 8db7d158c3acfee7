"""What checkpointing every epoch costs: epochs with and without, alternating.

python benchmarks/checkpoint_cost.py --data ../shared/data/mnist
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from train_speed import trainer

from gentool.data import DataOptions, load


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    made = trainer("vae", load(DataOptions(data=given.data)), torch.device("cpu"))
    taken: dict[str, list[float]] = {"without": [], "with": []}
    for i in range(given.rounds + 1):
        for kind in taken:
            began = time.perf_counter()
            for _ in range(made.loader.per_epoch):
                made.take_step()
            if kind == "with":
                made.save(best=True)
            elapsed = time.perf_counter() - began
            if kind == "with":
                made.recorder.flush()  # what is still being written counts too
                elapsed = time.perf_counter() - began
            if i:
                taken[kind].append(elapsed)
    medians = {k: statistics.median(v) for k, v in taken.items()}
    result = {
        "seconds_an_epoch": {k: round(v, 3) for k, v in medians.items()},
        "cost_percent": round(100 * (medians["with"] / medians["without"] - 1), 2),
    }
    print(json.dumps(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
