"""Nearest neighbours against scikit-learn's brute force, in one run, turn by turn.

    pip install scikit-learn
    python benchmarks/knn.py                      # 50,000 × 50,000 × 64, as metrics would ask
    python benchmarks/knn.py --n 20000 --repeat 3

Each side searches in a process of its own, so that its peak memory can be told apart; the two
take turns. Both find the 5 nearest other points of every point, float32.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "knn.json"
K = 5


def points(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def gentool_side(x: np.ndarray, threads: int) -> tuple[float, np.ndarray]:
    import torch

    from gentool.matmul import choose_matmul
    from gentool.metrics.knn import nearest

    torch.set_num_threads(threads)
    choose_matmul(torch.device("cpu"))
    tensor = torch.from_numpy(x)
    nearest(tensor[:2000], tensor[:2000], K, itself=True)  # threads start here
    began = time.perf_counter()
    found = nearest(tensor, tensor, K, itself=True)[1]
    return time.perf_counter() - began, found.numpy()


def sklearn_side(x: np.ndarray, threads: int) -> tuple[float, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    def search(y: np.ndarray) -> np.ndarray:
        model = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="euclidean")
        found: np.ndarray = model.fit(y).kneighbors()[1]  # without an argument: no point itself
        return found

    with threadpool_limits(threads):
        search(x[:2000])
        began = time.perf_counter()
        found = search(x)
        return time.perf_counter() - began, found


def one(side: str, n: int, d: int, threads: int) -> dict[str, Any]:
    seconds, found = {"gentool": gentool_side, "scikit-learn": sklearn_side}[side](
        points(n, d), threads
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    ordered = np.sort(found, axis=1)
    return {"seconds": seconds, "peak_gib": peak, "sum": int(ordered.astype(np.int64).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one(options.side, options.n, options.d, options.threads)))
        return
    rows: dict[str, list[dict[str, Any]]] = {"gentool": [], "scikit-learn": []}
    for _ in range(options.repeat):
        for side in rows:
            command = [sys.executable, __file__, "--side", side, "--n", str(options.n)]
            command += ["--d", str(options.d), "--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[side].append(json.loads(done.stdout))
            print(f"{side:<14}{rows[side][-1]}", flush=True)
    sums = {row["sum"] for side in rows.values() for row in side}
    print("the same neighbours" if len(sums) == 1 else f"neighbours differ: {sums}")
    medians = {side: statistics.median(r["seconds"] for r in found) for side, found in rows.items()}
    ratio = medians["scikit-learn"] / medians["gentool"]
    print(f"medians {medians}; scikit-learn takes {ratio:.2f} times as long")
    options.json.parent.mkdir(exist_ok=True)
    facts = {"n": options.n, "d": options.d, "k": K, "threads": options.threads}
    machine = {"machine": platform.machine(), "ratio": round(ratio, 2)}
    options.json.write_text(json.dumps({**facts, **machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
