"""Size, agreement and speed of `gentool export RUN page.html`, measured in the browser.

    python benchmarks/page_speed.py RUN [RUN…] [--seconds 10] [--seeds 3]

Exports each run, opens the file from file:// without a network, and prints a JSON line of it: its
size, what the page's own check says, how far the pixels of some seeds are from the file that
`gentool sample --seed` writes, the time of one sample, and how often the picture changes while the
pointer drags over the plane. Needs chromium and playwright, and for the times a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from explore_speed import DRAG, FLAGS
from playwright.sync_api import sync_playwright

SAMPLE = """
([seed, n]) => {
  const m = gentoolPage;
  const found = [];
  for (let i = 0; i < n; i += 1) found.push(Array.from(m.sample(m.latent(seed, i), m.inTurn(i))));
  return found;
}
"""
TIME = """
(seconds) => {
  const [m, z, told] = [gentoolPage, gentoolPage.latent(0), gentoolPage.inTurn(0)];
  for (let i = 0; i < 5; i += 1) m.sample(z, told);
  const start = performance.now();
  let n = 0;
  for (; performance.now() - start < 1000 * seconds; n += 1) m.sample(z, told);
  return (performance.now() - start) / n;
}
"""
DRAWN = 4


def gentool(*words: object) -> None:
    command = [sys.executable, "-m", "gentool", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def drawn(run: str, seed: int, folder: Path) -> np.ndarray:
    """What `gentool sample` writes as arrays: float or uint8 images, or points."""
    file = folder / f"seed{seed}.npz"
    gentool("sample", run, "--n", DRAWN, "--seed", seed, "--out", file)
    with np.load(file) as found:
        return np.array(found["x"])


def measure(browser: Any, run: str, seconds: float, seeds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        gentool("export", run, file)
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(120_000)
        page.goto(file.as_uri())
        page.wait_for_selector("#check[data-right]")
        check = page.locator("#check")
        worst = 0.0
        for seed in range(seeds):
            expected = drawn(run, seed, Path(place))
            found = np.array(page.evaluate(SAMPLE, [seed, DRAWN])).reshape(expected.shape)
            if expected.dtype == np.uint8:
                found = np.rint(np.clip(found, 0, 1) * 255)
                expected = expected.astype(float)
            worst = max(worst, float(np.abs(found - expected).max()))
        page.click("#tab-plane")
        page.wait_for_timeout(5000)  # the tiles are drawn
        found = page.evaluate(DRAG, seconds)
        return {
            "run": run,
            "megabytes": round(file.stat().st_size / 1e6, 2),
            "checked": check.get_attribute("data-right"),
            "worst_shades_of_255": round(255 * float(check.get_attribute("data-worst")), 3),
            "latents_apart": float(check.get_attribute("data-seed")),
            "seeds_apart_from_sample": worst,
            "ms_a_sample": round(page.evaluate(TIME, seconds / 2), 2),
            "frames_per_second": round(found["frames"] / found["seconds"], 1),
            "kernel": page.evaluate("() => gentoolPage.kernel.name"),
        }


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for run in asked.runs:
            row = measure(browser, run, asked.seconds, asked.seeds)
            print(json.dumps(row), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
