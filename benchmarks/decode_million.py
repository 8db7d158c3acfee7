"""A million small images in a hundred tars: speed, memory, second start, and a first one killed.

    python benchmarks/decode_million.py /tmp/million --n 1000000

Needs about 10 GB at PLACE, which are removed at the end unless --keep is given. The first start is
made twice, each in a program of its own: once from end to end, and once killed (SIGKILL) at a third
and at two thirds; both caches must have the same bytes. Memory is what all processes of a start
hold together, sampled twice a second (Linux): anonymous pages, and the sum of their own peaks
(VmHWM), which counts mapped and shared pages too.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IN_A_TAR = 10_000

START = """
import json, sys, time
began = time.perf_counter()
from gentool.data import DataOptions, load
imported = time.perf_counter()
listed = None
def progress(what, done, total):
    global listed
    if what == "decoding images":
        listed = listed or time.perf_counter()
        print(done, flush=True)
data = load(DataOptions(data=sys.argv[1], cache=sys.argv[2]), progress=progress)
ended = time.perf_counter()
print(json.dumps({"fingerprint": data.fingerprint, "images": len(data.train) + len(data.test),
    "load_s": ended - imported, "listing_s": listed and listed - imported,
    "with_imports_s": ended - began}))
"""


def make(place: Path, n: int) -> None:
    """JPEGs of 32x32 pixels, 2,000 different ones, each with its class beside it."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(2_000):
        file = io.BytesIO()
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((32, 32)).save(file, "JPEG", quality=85)
        pictures.append(file.getvalue())
    place.mkdir(parents=True)
    for first in range(0, n, IN_A_TAR):
        with (place / f"shard-{first // IN_A_TAR:03d}.tar").open("wb", buffering=2**22) as tar:
            for k in range(first, min(first + IN_A_TAR, n)):
                for suffix, data in (("jpg", pictures[k % 2_000]), ("cls", b"%d" % (k % 10))):
                    member = tarfile.TarInfo(f"{k:08d}.{suffix}")
                    member.size = len(data)
                    tar.write(member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
            tar.write(bytes(1024))


def pillow_loop(place: Path, n: int) -> float:
    """Images a second of a plain loop over the first n images, on one core."""
    out = np.empty((n, 32, 32, 3), np.uint8)
    done, began = 0, time.perf_counter()
    for path in sorted(place.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    file = archive.extractfile(member)
                    assert file is not None
                    with Image.open(io.BytesIO(file.read())) as image:
                        out[done] = np.asarray(image.convert("RGB"))
                    done += 1
                if done == n:
                    return n / (time.perf_counter() - began)
    raise SystemExit("there are not so many images")


class Start:
    """One start in a program of its own, until it ends or has decoded `until` images."""

    def __init__(self, place: Path, cache: Path, until: int | None = None) -> None:
        self.until, self.first, self.last = until, 0, 0
        self.anonymous, self.peaks = 0, Counter[int]()
        self.said: dict[str, Any] = {}
        began = time.perf_counter()
        self.child = subprocess.Popen(
            [sys.executable, "-c", START, str(place), str(cache)], stdout=subprocess.PIPE, text=True
        )
        self._follow()
        self.child.wait()
        self.seconds = time.perf_counter() - began
        if self.child.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"the start ended with {self.child.returncode}")

    def _follow(self) -> None:
        assert self.child.stdout is not None
        sampled = 0.0
        for line in self.child.stdout:
            if line.startswith("{"):
                self.said = json.loads(line)
                return
            self.last = int(line)
            self.first = self.first or self.last
            if time.perf_counter() - sampled > 0.5:
                self._sample()
                sampled = time.perf_counter()
            if self.until is not None and self.last >= self.until:
                self.child.kill()

    def _sample(self) -> None:
        anonymous = 0
        for pid in _family(self.child.pid):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            if "RssAnon" in facts:
                anonymous += int(facts["RssAnon"].split()[0])
                self.peaks[pid] = int(facts["VmHWM"].split()[0])
        self.anonymous = max(self.anonymous, anonymous)


def _family(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *map(int, children.read_text().split())]
    except OSError:
        return [pid]


def hashed(cache: Path) -> dict[str, str]:
    """The files of the cache's entries."""
    found = {}
    for path in sorted((cache / "decoded").glob("*/*")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[f"{path.parent.name}/{path.name}"] = digest
    return found


def measured(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    n = given.n
    tars, whole, killed = place / "tars", place / "whole", place / "killed"
    if not tars.exists():
        make(tars, n)
    result: dict[str, Any] = {"images": n, "tars": len(list(tars.iterdir()))}
    result["cores"] = len(os.sched_getaffinity(0))
    result["load_average"] = os.getloadavg()[0]
    result["pillow_images_per_s"] = round(pillow_loop(tars, min(n, given.pillow)))
    first = Start(tars, whole)
    result["first_start_s"] = round(first.said["load_s"], 1)
    result["listing_s"] = round(first.said["listing_s"], 1)
    result["images_per_s"] = round(n / first.said["load_s"])
    result["anonymous_mb"] = round(first.anonymous / 1024)
    result["sum_of_peaks_mb"] = round(sum(first.peaks.values()) / 1024)
    second = Start(tars, whole)
    result["second_start_s"] = round(second.said["load_s"], 3)
    result["second_start_with_imports_s"] = round(second.said["with_imports_s"], 3)
    for share in (1 / 3, 2 / 3):
        Start(tars, killed, until=int(share * n))
    last = Start(tars, killed)
    result["found_after_two_kills"] = last.first
    result["same_bytes"] = hashed(whole) == hashed(killed)
    result["same_fingerprint"] = last.said["fingerprint"] == first.said["fingerprint"]
    os.utime(min(tars.iterdir()))
    changed = Start(tars, whole, until=1)
    result["change_noticed"] = changed.last > 0 and not changed.said
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("place", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--pillow", type=int, default=50_000, help="images of the Pillow loop")
    parser.add_argument("--keep", action="store_true", help="leave the tars and caches there")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        result = measured(given, given.place)
    finally:
        if not given.keep:
            shutil.rmtree(given.place, ignore_errors=True)
    print(json.dumps(result, indent=1))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
