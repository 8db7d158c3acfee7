"""The explorer's page in a real browser, headless: what is seen, and whom it asks."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer import cell, exploring, run_line, tile
from PIL import Image

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 2, "--epochs", 1)
DCGAN = ("dcgan", "--data", "glyphs:64", "--width", 4, "--steps", 2)
RING = ("wgan", "--data", "ring", "--steps", 3)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("GENTOOL_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no chromium is installed; GENTOOL_BROWSER names another place of it")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


class Watched:
    """A page, with what it wrote to the console and whom it asked."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.page.set_default_timeout(60_000)
        self.console: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.origin = url.split("#")[0]
        self.page.goto(url)

    def open(self, tab: str) -> None:
        self.page.click(f"#tab-{tab}")

    def wait_shown(self, selector: str, times: int = 1) -> None:
        """Until a canvas or picture was drawn so many times."""
        script = "([s, n]) => Number(document.querySelector(s)?.dataset.shown || 0) >= n"
        self.page.wait_for_function(script, arg=[selector, times])

    def wait_command(self, line: str) -> None:
        """Until the terminal's line is this one."""
        script = "line => document.querySelector('#command').textContent === line"
        self.page.wait_for_function(script, arg=line)

    def pixels(self, selector: str) -> np.ndarray:
        """What a canvas holds: uint8 (H, W, 4)."""
        url = self.page.evaluate("s => document.querySelector(s).toDataURL()", selector)
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGBA"))

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked."""
        assert self.console == []
        local = ("blob:", "data:", self.origin)
        assert [url for url in self.asked if not url.startswith(local)] == []
        assert not self.page.is_visible("#trouble"), self.page.inner_text("#trouble")


def test_every_tab_of_each_kind_of_model(browser: Any, trained: Callable[..., Path]) -> None:
    trained("vae", *VAE)
    trained("dcgan", *DCGAN)
    trained("ring", *RING)
    with exploring("vae", "dcgan", "ring") as client:
        page = Watched(browser, client.explorer.url)
        page.page.wait_for_selector("#tab-samples")
        for index, facts in enumerate(client.ask("info").facts["runs"]):
            page.page.select_option("#run", str(index))
            for tab in facts["tabs"]:
                page.open(tab)
                if tab != "restore":  # which has a line once something was restored
                    page.page.wait_for_selector("#command:not(:empty)")
                    assert page.page.inner_text("#command").startswith("gentool "), tab
                page.check()


def test_a_drag_changes_pixels_and_its_line_repeats_them(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("plane")
        page.wait_shown("#plane-picture")
        before = page.pixels("#plane-picture")
        box = page.page.locator("#plane-map").bounding_box()
        page.page.mouse.move(box["x"] + 60, box["y"] + 60)
        page.page.mouse.down()
        for i in range(20):
            page.page.mouse.move(box["x"] + 60 + 9 * i, box["y"] + 60 + 4 * i)
        page.page.mouse.up()
        page.wait_shown("#plane-picture", 3)
        page.page.wait_for_load_state("networkidle")
        after = page.pixels("#plane-picture")
        assert (before != after).any()
        run_line(cli, page.page.inner_text("#command"))
        assert (cell("picture.png", (1, 28, 28)) == after[..., :1]).all()
        page.page.focus("#plane-map")
        line = page.page.inner_text("#command")
        page.page.keyboard.press("ArrowLeft")
        page.page.wait_for_function(
            "line => document.querySelector('#command').textContent !== line", arg=line
        )
        page.check()


def test_a_click_shows_the_nearest_training_images(
    browser: Any, trained: Callable[..., Path]
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.wait_shown("#grid")
        page.page.click("#grid", position={"x": 40, "y": 40})
        page.page.wait_for_selector("#neighbours canvas")
        assert page.page.locator("#neighbours canvas").count() == 9
        page.check()


def test_a_wrong_token_is_told_in_words(browser: Any, trained: Callable[..., Path]) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url[:-3])
        page.page.wait_for_selector("#trouble:visible")
        assert "token" in page.page.inner_text("#trouble")


def test_it_fits_a_phone_in_the_dark(browser: Any, trained: Callable[..., Path]) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        phone = {"viewport": {"width": 375, "height": 700}, "color_scheme": "dark"}
        page = Watched(browser, client.explorer.url, **phone)
        page.page.wait_for_selector("#tab-samples")
        for tab in client.ask("info").facts["runs"][0]["tabs"]:
            page.open(tab)
            page.page.wait_for_selector(
                "#restore-pad" if tab == "restore" else "#command:not(:empty)"
            )
            wide = page.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 375, tab
        dark = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, dark[4:-1].split(","))) < 60
        page.check()


def test_sliders_move_reset_and_undo(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("sliders")
        page.wait_shown("#sliders-picture")
        page.page.wait_for_selector("#slider-pca1")
        line = page.page.inner_text("#command")
        page.page.focus("#slider-pca1")
        for _ in range(30):
            page.page.keyboard.press("ArrowRight")
        page.page.wait_for_load_state("networkidle")
        moved = page.page.inner_text("#command")
        assert moved != line
        run_line(cli, moved)
        shown = page.pixels("#sliders-picture")
        assert (cell("picture.png", (1, 28, 28)) == shown[..., :1]).all()
        page.page.click("#sliders-reset")
        page.wait_command(line)
        page.page.click("#sliders-undo")
        page.wait_command(moved)
        page.page.click("#sliders-random")
        page.page.fill("#sliders-from", "test:3")
        page.page.press("#sliders-from", "Enter")
        page.page.click("#sliders-find")
        page.page.wait_for_selector("#sliders-groups details:first-child .slider")
        page.check()


def test_what_is_drawn_is_reconstructed(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any], tmp_path: Path
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("reconstruct")
        page.wait_shown("#reconstruct-result")
        assert "test:0" in page.page.inner_text("#command")
        page.page.click("#reconstruct-pad-clear")
        box = page.page.locator("#reconstruct-pad").bounding_box()
        page.page.mouse.move(box["x"] + 100, box["y"] + 60)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + 140, box["y"] + 250, steps=8)
        page.page.mouse.up()
        page.page.wait_for_load_state("networkidle")
        drawn = page.pixels("#reconstruct-pad")[..., :1]
        assert (drawn == 255).sum() > 20
        with page.page.expect_download() as saved:
            page.page.click("text=Save image")
        saved.value.save_as("drawn.png")
        with Image.open("drawn.png") as image:
            assert (np.asarray(image)[..., None] == drawn).all()
        run_line(cli, page.page.inner_text("#command"))
        again = page.pixels("#reconstruct-result figure:nth-child(2) canvas")[..., :1]
        assert (tile("again.png", (1, 28, 28), 1, 0) == again).all()
        page.page.set_input_files("#reconstruct-pad-file", "again.png")
        page.page.wait_for_function(
            "() => document.querySelector('#reconstruct-pad-where').textContent === 'again.png'"
        )
        page.page.focus("#reconstruct-pad")
        page.page.keyboard.press("ArrowDown")
        page.page.keyboard.press("Space")
        page.page.click("#reconstruct-pad-examples button:nth-child(2)")
        page.page.wait_for_function(
            "() => document.querySelector('#command').textContent.includes('test:1')"
        )
        page.check()


def test_a_mixture_is_dragged_played_and_saved(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any], tmp_path: Path
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("mix")
        page.wait_shown("#mix-picture")
        box = page.page.locator("#mix-map").bounding_box()
        page.page.mouse.move(box["x"] + 90, box["y"] + 90)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + 180, box["y"] + 120, steps=9)
        page.page.mouse.up()
        page.page.wait_for_load_state("networkidle")
        run_line(cli, page.page.inner_text("#command"))
        shown = page.pixels("#mix-picture")[..., :1]
        assert (cell("picture.png", (1, 28, 28)) == shown).all()
        page.page.fill("#mix-steps", "5")
        with page.page.expect_download() as saved:
            page.page.click("#mix-gif")
        saved.value.save_as("saved.gif")
        run_line(cli, page.page.inner_text("#command"))
        assert Path("film.gif").read_bytes() == Path("saved.gif").read_bytes()
        page.page.click("#mix-play")
        page.wait_shown("#mix-picture", 12)
        page.page.click("#mix-play")
        page.check()


def test_a_painted_hole_is_restored_and_can_be_stopped(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("vae", *VAE)
    with exploring("vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("restore")
        page.page.wait_for_selector("#restore-image-examples button")
        page.page.fill("#restore-warmup", "5")
        page.page.fill("#restore-draws", "5")
        box = page.page.locator("#restore-pad").bounding_box()
        page.page.mouse.click(box["x"] + 60, box["y"] + 40)
        page.page.click("#restore-go")
        page.wait_shown("#restore-result")
        for name, file in (("Save hole", "hole.png"), ("Save picture", "saved.png")):
            with page.page.expect_download() as saved:
                page.page.click(f"text={name}")
            saved.value.save_as(file)
        run_line(cli, page.page.inner_text("#command"))
        assert Path("restored.png").read_bytes() == Path("saved.png").read_bytes()
        assert page.page.locator("#restore-arrivals canvas").count() == 8
        page.page.fill("#restore-draws", "5000")
        page.page.click("#restore-go")
        page.page.wait_for_selector("#restore-arrivals canvas")
        page.page.click("#restore-go")
        page.page.wait_for_function(
            "() => document.querySelector('#restore-status').textContent.startsWith('stopped')"
        )
        page.open("samples")  # the worker is free again
        page.wait_shown("#grid")
        page.check()


def test_the_film_is_scrubbed_and_a_run_is_followed(
    browser: Any, trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("ring", "wgan", "--data", "ring", "--steps", 6, "--keep-history", 3)
    vae = trained("vae", *VAE)
    with exploring("ring", "vae") as client:
        page = Watched(browser, client.explorer.url)
        page.open("training")
        page.wait_shown("#training-points-0")
        before = page.pixels("#training-points-0")
        page.page.focus("#training-scrubber")
        page.page.keyboard.press("Home")
        page.page.wait_for_function(
            "() => document.querySelector('#command').textContent.includes('000000')"
        )
        assert (page.pixels("#training-points-0") != before).any()
        page.page.click("#training-play")
        page.page.wait_for_function(
            "() => document.querySelector('#command').textContent.includes('sample ring --n')"
        )
        page.page.select_option("text=Beside", "1")
        page.wait_shown("#training-picture-1")
        page.page.select_option("#run", "1")
        page.wait_shown("#training-charts")
        drawn = int(page.page.get_attribute("#training-charts", "data-shown"))
        with (vae / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 3, "step": 999, "split": "train", "loss": 1.5}\n')
        page.wait_shown("#training-charts", drawn + 1)
        assert "1.5" in page.page.inner_text("#training-charts")
        page.check()
