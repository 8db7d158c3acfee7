"""One process against two, one thread each, on the convolutional VAE (gloo, CPU).

    python benchmarks/scaling.py

The whole batch is the same; rounds of one and two processes alternate, medians are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = """
import sys, time, torch
torch.set_num_threads(1)
from gentool.data import DataOptions, load
from gentool.train import distributed
from train_speed import BATCH, trainer
world = distributed.join(torch.device("cpu"))
BATCH["vae"] = int(sys.argv[1])
made = trainer("vae", load(DataOptions(data="glyphs:4000")), torch.device("cpu"), net="conv",
               world=world)
for _ in range(5):
    made.take_step()
began = time.perf_counter()
for _ in range(int(sys.argv[2])):
    made.take_step()
if world.is_main:
    print(int(sys.argv[1]) * int(sys.argv[2]) / (time.perf_counter() - began))
world.barrier()
distributed.leave()
"""


def measure(size: int, batch: int, steps: int) -> float:
    """Images a second of `size` processes together."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = str(Path(__file__).resolve().parent)
    running = []
    for rank in range(size):
        environment = {
            **os.environ,
            "PYTHONPATH": here,
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
        }
        command = [sys.executable, "-c", WORKER, str(batch), str(steps)]
        running.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    outputs = [p.communicate()[0] for p in running]
    if any(p.returncode for p in running):
        raise SystemExit("a process failed")
    return float(outputs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(given.rounds):
        for size in rates:
            rates[size].append(measure(size, given.batch, given.steps))
    medians = {size: statistics.median(values) for size, values in rates.items()}
    result = {
        "batch": given.batch,
        "images_per_s": {str(k): round(v, 1) for k, v in medians.items()},
        "ratio": round(medians[2] / medians[1], 2),
    }
    print(json.dumps(result))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
