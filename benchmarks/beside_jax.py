"""gentool's VAE beside JAX's, turn by turn, alone and with a process that spins beside them.

    python -m venv jax && jax/bin/pip install jax optax
    python benchmarks/beside_jax.py MNIST_FOLDER --jax jax/bin/python
    python benchmarks/beside_jax.py MNIST_FOLDER --jax jax/bin/python --busy

784-400-20, batch 128, Adam 1e-3. Images a second of training are the median over a process's
epochs but the first, which compiles or warms up; the table gives the median of `--rounds` such
processes with their range, and the test loss after `--epochs`. `train_speed.py` has the plain loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
VAE = ["train", "vae", "--hidden", "400", "--latent-dim", "20", "--batch-size", "128"]
VAE += ["--lr", "1e-3", "--sample-every", "0"]
SPIN = "while True: pass"

Result = tuple[float, float]
"""Images a second, and the test loss."""


def gentool_side(folder: Path, epochs: int, *options: str) -> Result:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        command = [sys.executable, "-m", "gentool", *VAE, "--data", str(folder), *options]
        command += ["--epochs", str(epochs), "--save-every", str(epochs), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [row["examples_per_s"] for row in rows if "examples_per_s" in row]
    tests = [row["neg_elbo"] for row in rows if row["split"] == "test"]
    return statistics.median(rates[1:]), tests[-1]


def jax_side(python: str, folder: Path, epochs: int) -> Result:
    command = [python, str(HERE / "jax_vae.py"), str(folder), "--epochs", str(epochs)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    return statistics.median(r["images"] / r["seconds"] for r in rows[1:]), rows[-1]["test"]


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """A process that wants one core for itself."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN])] if busy else []
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jax", default=sys.executable, help="a Python that has jax and optax")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder, epochs = asked.folder.resolve(), asked.epochs
    sides: dict[str, Callable[[], Result]] = {
        "jax": lambda: jax_side(asked.jax, folder, epochs),
        "gentool fp32": lambda: gentool_side(folder, epochs),
        "gentool bf16": lambda: gentool_side(folder, epochs, "--precision", "bf16"),
        "gentool --threads 1": lambda: gentool_side(folder, epochs, "--threads", "1"),
    }
    found: dict[str, list[Result]] = {name: [] for name in sides}
    with neighbour(asked.busy):
        for turn in range(asked.rounds):
            names = list(sides)[turn % len(sides) :] + list(sides)[: turn % len(sides)]
            for name in names:
                found[name].append(sides[name]())
                print(turn, name, *(round(v, 2) for v in found[name][-1]), flush=True)
    jax = statistics.median(rate for rate, _ in found["jax"])
    for name, results in found.items():
        rates = [rate for rate, _ in results]
        middle = statistics.median(rates)
        print(
            f"{name:20} {middle:8.0f} images/s ({min(rates):.0f}–{max(rates):.0f})  "
            f"{middle / jax:.2f} × jax  test {statistics.median(t for _, t in results):.2f}"
        )
    if asked.json:
        asked.json.write_text(json.dumps({"busy": asked.busy, "results": found}, indent=1))


if __name__ == "__main__":
    main()
