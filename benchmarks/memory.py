"""The memory that training holds of its own on 2 GB of images on disk, and how soon it starts.

    python benchmarks/memory.py --json benchmarks/results/memory.json

Memory is anonymous memory (RssAnon of /proc, so Linux only), summed over the command and the
processes it starts: pages of mapped files do not count, since the system takes them back when it
needs them. What the model holds by itself is what the same command holds on 1,000 of the images.
A start is the loading in a fresh interpreter that has imported torch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FEW = 1_000
DISTINCT = 500
STORED = 144
"""Side of the images on disk, so that --size has work to do."""

PAUSE = 0.01
LOAD = """
import sys, time, torch
began, used = time.perf_counter(), time.process_time()
from gentool.data import DataOptions, load
load(DataOptions(data=sys.argv[1], size=sys.argv[2]))
print(time.perf_counter() - began, time.process_time() - used)
"""
MODELS = {
    "dcgan": ["--width", "16", "--batch-size", "32"],
    "vae": ["--net", "conv", "--width", "8", "--batch-size", "32"],
}


def make_folder(place: Path, count: int) -> Path:
    """`count` JPEGs in ten classes: smooth noise, a few hundred pictures again and again."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(min(DISTINCT, count)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        out = io.BytesIO()
        coarse.resize((STORED, STORED), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
        pictures.append(out.getvalue())
    for k in range(10):
        (place / f"class{k}").mkdir(parents=True)
    for i in range(count):
        (place / f"class{i % 10}" / f"{i:06d}.jpg").write_bytes(pictures[i % len(pictures)])
    return place


def make_array(path: Path, count: int, side: int) -> Path:
    """`count` images in one .npy file, uint8 (N, H, W, C), written without holding them."""
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, side, side, 3))
    rng = np.random.default_rng(0)
    some = rng.integers(0, 256, (DISTINCT, side, side, 3), dtype=np.uint8)
    for start in range(0, count, DISTINCT):
        out[start : start + DISTINCT] = some[: count - start]
    return path


def anonymous(pid: int) -> int:
    """RssAnon in bytes of a process and of all below it."""
    total = 0
    with suppress(OSError, StopIteration):  # it ended meanwhile
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += int(next(n for n in lines if n.startswith("RssAnon")).split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(anonymous(int(p)) for p in (task / "children").read_text().split())
    return total


def train(data: Path, work: Path, model: str, given: argparse.Namespace) -> dict[str, float]:
    """Train through the command line; peaks in MB before and after the run's config is written,
    which is when data and model are there."""
    out, log = Path(tempfile.mkdtemp(dir=work)) / "run", work / "log.txt"
    asked = ["--data", data, "--size", given.side, "--steps", given.steps, "--out", out]
    command = [sys.executable, "-m", "gentool", "train", model, *map(str, asked), *MODELS[model]]
    starting = training = 0
    with log.open("w") as said:
        running = subprocess.Popen(command, env=environment(work), stdout=said, stderr=said)
        while running.poll() is None:
            held = anonymous(running.pid)
            if (out / "config.json").exists():
                training = max(training, held)
            else:
                starting = max(starting, held)
            time.sleep(PAUSE)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()}")
    return {"mb_starting": round(starting / 1e6), "mb_training": round(training / 1e6)}


def start(data: Path, work: Path, side: int) -> tuple[float, float]:
    """Wall and processor time of loading, gentool's imports included; without its processes'."""
    command = [sys.executable, "-c", LOAD, str(data), str(side)]
    done = subprocess.run(
        command, env=environment(work), check=True, stdout=subprocess.PIPE, text=True
    )
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def environment(work: Path) -> dict[str, str]:
    return {**os.environ, "GENTOOL_CACHE": str(work / "cache")}


def memory(data: dict[str, Path], work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Peaks of each model on few images, and on all at the first and the second start."""
    peaks = {}
    for model in given.models:
        shutil.rmtree(work / "cache", ignore_errors=True)
        runs = (("few", "few"), ("first", "all"), ("second", "all"))
        peaks[model] = {name: train(data[which], work, model, given) for name, which in runs}
    return peaks


def starts(data: Path, work: Path, given: argparse.Namespace) -> dict[str, float]:
    """The first start, which decodes, and the median of those that follow."""
    shutil.rmtree(work / "cache", ignore_errors=True)
    first, _ = start(data, work, given.side)
    again = [start(data, work, given.side) for _ in range(given.rounds)]
    wall, processor = (statistics.median(column) for column in zip(*again, strict=True))
    return {
        "first_s": round(first, 2),
        "second_s": round(wall, 3),
        "second_processor_s": round(processor, 3),
    }


def measure(kind: str, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=given.tmp) as place:
        work = Path(place)
        data = {}
        for name, count in (("few", FEW), ("all", given.images)):
            if kind == "folder":
                data[name] = make_folder(work / name, count)
            else:
                data[name] = make_array(work / f"{name}.npy", count, given.side)
        found: dict[str, Any] = {
            "images": given.images,
            "decoded_mb": round(given.images * given.side**2 * 3 / 1e6),
        }
        if given.only != "starts":
            found["anonymous_memory"] = memory(data, work, given)
        if given.only != "memory":
            found["starts_beyond_import_torch"] = starts(data["all"], work, given)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7, help="second starts that are timed")
    parser.add_argument("--kinds", nargs="+", choices=("folder", "npy"), default=["folder"])
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--only", choices=("memory", "starts"), help="the rest of --json is kept")
    parser.add_argument("--tmp", help="where 4 GB may lie meanwhile; default: the system's")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    kept: dict[str, Any] = {}
    if given.json and given.json.exists():
        kept = json.loads(given.json.read_text())
    for kind in given.kinds:
        found = measure(kind, given)
        print(json.dumps({kind: found}), flush=True)
        kept[kind] = {**kept.get(kind, {}), **found}
        if given.json:
            given.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
