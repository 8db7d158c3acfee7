"""Decoding a zip of images: gentool's first and second start against a Pillow loop on one core.

    python benchmarks/decode.py ../shared/data/cifar10-train.zip

The two alternate; medians are reported. The second start reads the decoded cache.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from gentool.data import DataOptions, load


def pillow_loop(path: Path) -> int:
    """Decode every image of the zip into one array, one after another."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
        out: np.ndarray | None = None
        for i, name in enumerate(names):
            with Image.open(io.BytesIO(archive.read(name))) as image:
                pixels = np.asarray(image.convert("RGB"))
            if out is None:
                out = np.empty((len(names), *pixels.shape), np.uint8)
            out[i] = pixels
    return len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("zip", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    taken: dict[str, list[float]] = {"pillow": [], "first": [], "second": []}
    count = 0
    for _ in range(given.rounds):
        began = time.perf_counter()
        count = pillow_loop(given.zip)
        taken["pillow"].append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as cache:
            options = DataOptions(data=str(given.zip), cache=cache)
            for start in ("first", "second"):
                began = time.perf_counter()
                load(options)
                taken[start].append(time.perf_counter() - began)
    medians = {k: statistics.median(v) for k, v in taken.items()}
    result = {
        "images": count,
        "images_per_s": {k: round(count / medians[k]) for k in ("pillow", "first")},
        "ratio": round(medians["pillow"] / medians["first"], 2),
        "second_start_s": round(medians["second"], 4),
    }
    print(json.dumps(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
