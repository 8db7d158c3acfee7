"""Frames a second and latency of `gentool explore`, measured in the browser.

    python benchmarks/explore_speed.py RUN [RUN…] [--seconds 10]

Drags over the plane of each run and prints how often the picture changed, and the median time from
a move of the pointer to the pixels that answer it. Needs chromium and playwright, and a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import threading
import time

from playwright.sync_api import sync_playwright

from gentool.explore.server import Explorer
from gentool.explore.session import open_all

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

DRAG = """
async (seconds) => {
  const map = document.querySelector("#plane-map");
  const picture = document.querySelector("#plane-picture");
  const box = map.getBoundingClientRect();
  const point = (i) => ({
    clientX: box.left + box.width * (0.5 + 0.4 * Math.cos(i / 17)), pointerId: 1, bubbles: true,
    clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(i / 23)),
  });
  map.setPointerCapture = () => {};
  let frames = 0;
  let sent = null;
  const waits = [];
  new MutationObserver(() => {
    frames += 1;
    if (sent !== null) { waits.push(performance.now() - sent); sent = null; }
  }).observe(picture, { attributes: true, attributeFilter: ["data-shown"] });
  map.dispatchEvent(new PointerEvent("pointerdown", point(0)));
  const start = performance.now();
  frames = 0;
  for (let i = 1; performance.now() - start < seconds * 1000; i += 1) {
    if (sent === null) sent = performance.now();
    map.dispatchEvent(new PointerEvent("pointermove", point(i)));
    await new Promise((go) => requestAnimationFrame(go));
  }
  map.dispatchEvent(new PointerEvent("pointerup", point(0)));
  return { frames, seconds: (performance.now() - start) / 1000, waits };
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    explorer = Explorer(open_all(asked.runs))
    threading.Thread(target=explorer.run, daemon=True).start()
    while not explorer.started:
        time.sleep(0.01)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        page.goto(explorer.url)
        page.wait_for_selector("#tab-plane")
        for index, run in enumerate(asked.runs):
            page.select_option("#run", str(index), force=True)
            page.click("#tab-plane")
            page.wait_for_timeout(3000)  # the tiles and the scatter are drawn
            found = page.evaluate(DRAG, asked.seconds)
            row = {
                "run": run,
                "frames_per_second": round(found["frames"] / found["seconds"], 1),
                "median_ms_pointer_to_pixels": round(statistics.median(found["waits"]), 1),
            }
            print(json.dumps(row), flush=True)
        browser.close()
    explorer.stop()


if __name__ == "__main__":
    main()
