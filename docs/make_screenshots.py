"""The screenshots of `gentool explore` in docs/images/explore: one a tab, as small PNGs.

    python docs/make_screenshots.py VAE_RUN RING_RUN [--out docs/images/explore]

Needs chromium, playwright, and two runs: a VAE of images, and a game of points trained with
--keep-history.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from gentool.explore.server import Explorer
from gentool.explore.session import open_all

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
COLOURS = 96
"""Of a PNG: a page has few, and small files matter more."""


def plane(page: Any) -> None:
    box = page.locator("#plane-map").bounding_box()
    page.mouse.click(box["x"] + 0.62 * box["width"], box["y"] + 0.4 * box["height"])


def samples(page: Any) -> None:
    page.click("#grid", position={"x": 100, "y": 100})
    page.wait_for_selector("#neighbours")


def sliders(page: Any) -> None:
    page.wait_for_selector("#sliders-find")
    page.click("#sliders-find")
    page.wait_for_selector("#sliders-groups details:first-child .slider")
    for name, strength in (("3", "1.5"), ("pca1", "-1"), ("pca2", "0.8")):
        page.fill(f'[id="slider-{name}"]', strength)


def reconstruct(page: Any) -> None:
    page.wait_for_selector("#reconstruct-result table")


def mix(page: Any) -> None:
    page.wait_for_selector("#mix-picture[data-shown]")


def restore(page: Any) -> None:
    page.wait_for_selector("#restore-image-examples button")
    page.click("#restore-go")
    page.wait_for_selector("#restore-result[data-shown]", timeout=200_000)


def training(page: Any) -> None:
    page.wait_for_selector("#training-points-0[data-shown]")


STEPS = [
    ("samples", 0, samples),
    ("plane", 0, plane),
    ("sliders", 0, sliders),
    ("reconstruct", 0, reconstruct),
    ("mix", 0, mix),
    ("restore", 0, restore),
    ("training", 1, training),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2)
    parser.add_argument("--out", type=Path, default=Path("docs/images/explore"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    explorer = Explorer(open_all(asked.runs))
    threading.Thread(target=explorer.run, daemon=True).start()
    while not explorer.started:
        time.sleep(0.01)
    path = os.environ.get("GENTOOL_BROWSER") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        looks: list[tuple[str, Any]] = [("", {"viewport": {"width": 1000, "height": 700}})]
        phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
        looks += [("-phone-dark", phone)]
        for ending, look in looks:
            page = browser.new_context(**look).new_page()
            page.set_default_timeout(90_000)
            page.goto(explorer.url)
            page.wait_for_selector("#tab-samples")
            for name, run, steps in STEPS:
                if ending and name != "plane":
                    continue
                page.select_option("#run", str(run))
                page.click(f"#tab-{name}")
                steps(page)
                page.wait_for_timeout(2500)
                save(page.screenshot(full_page=True), asked.out / f"{name}{ending}.png")
        browser.close()
    explorer.stop()


def save(png: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    print(f"{path} {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
