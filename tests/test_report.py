"""The report: one page, complete, harmless, and quiet in a browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import pytest
from conftest import Result

Cli = Callable[..., Result]

SMALL = ("--data", "glyphs:300", "--hidden", 8, "--device", "cpu", "--epochs", 2)


class Outline(HTMLParser):
    """What a browser would see: tags, text, and everything that could ask a host."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(str(value))
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def judged(trained: Callable[..., Path], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    from gentool.metrics import features

    monkeypatch.setattr(features, "STEPS", 20)
    run = trained("run", "vae", *SMALL)
    result = cli("evaluate", run, "--n", 30, "--metrics", "elbo,frechet,memorisation")
    assert result.code == 0, result.err
    return run


def test_the_page_is_complete_and_alone(cli: Cli, judged: Path) -> None:
    result = cli("report", judged)
    assert result.code == 0 and result.out == "report.html\n", result.err
    page = Path("report.html").read_text()
    found = Outline(page)
    text = " ".join(found.words)
    record = json.loads(next((judged / "results").glob("evaluate-*.json")).read_text())
    for entry in (record["values"]["frechet"], record["values"]["frechet"]["floor"]):
        assert f"{entry['mean']:.4g}" in text
    for words in ("real vs real", "glyphs:300", "gentool train vae", "batch_size", "torch"):
        assert words in text, words
    assert found.tags.count("img") == 4  # samples, film, curves, neighbours
    assert all(a.startswith("data:image/") for a in found.addresses), found.addresses
    assert "script" not in found.tags and "link" not in found.tags and not found.handlers
    again = cli("report", judged)
    assert again.code == 2 and "--force" in again.err
    assert cli("report", judged, "--force").code == 0
    assert Path("report.html").read_text() == page  # nothing of the day it was written on


def test_several_runs_stand_side_by_side(cli: Cli) -> None:
    small = ("--data", "glyphs:200", "--hidden", 8, "--sample-every", 0, "--steps", 3)
    options = ("--over", "latent_dim=2,3", "--seeds", "0-1", "--out", "runs/s")
    assert cli("sweep", "vae", *small, *options).code == 0
    assert cli("report", "s", "--out", "all.html").code == 0
    found = Outline(Path("all.html").read_text())
    assert found.tags.count("section") == 4 and "Side by side" in found.words
    assert [a for a in found.addresses if a.startswith("#")] == [f"#run-{i}" for i in range(4)]
    assert any("±" in words for words in found.words)


EVIL = "<script>alert(1)</script>\"'><img src=http://x.example/a onerror=alert(2)>\x1b[31m"


def test_a_strangers_run_is_text(cli: Cli, trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained("run", "vae", *SMALL)
    config = json.loads((run / "config.json").read_text())
    config["model"] = EVIL
    config["config"] = {EVIL: EVIL, "n": [EVIL]}
    config["environment"] = {EVIL: {"a": EVIL}}
    config["data"]["shape"] = [EVIL]
    (run / "config.json").write_text(json.dumps(config))
    (run / "recipe.toml").write_text(f"# x\n#   gentool train {EVIL}\n# It was trained with {EVIL}")
    rows = [{"step": 1, "split": "test", EVIL: 3.0}, {"step": 1, "split": EVIL, "warning": EVIL}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "results").mkdir()
    value = {"mean": 1.0, "spread": None, "better": EVIL, "ideal": None}
    record = {
        "model": {"run": EVIL},
        "data": {"name": EVIL},
        "features": {"name": EVIL, "hash": EVIL},
        "classifier": None,
        "settings": {"n": EVIL, "metrics": [], "seed": EVIL, "seeds": 1},
        "values": {EVIL: value},
        "warnings": [EVIL],
    }
    (run / "results" / "evaluate-1.json").write_text(json.dumps(record))
    (run / "results" / "evaluate-2.json").write_text('{"values": {"a": 3}, "warnings": 1}')
    (run / "samples.gif").write_text(EVIL)
    for picture in (run / "samples").iterdir():
        picture.unlink()
        picture.symlink_to("/etc/hostname")
    result = cli("report", run, "--out", "evil.html")
    assert result.code == 0, result.err
    page = Path("evil.html").read_text()
    found = Outline(page)
    assert "script" not in found.tags and not found.handlers and "\x1b" not in page
    assert all(a.startswith("data:image/png;") for a in found.addresses), found.addresses
    assert found.tags.count("img") == 1  # the curves, which are drawn here
    assert any("<script>alert(1)" in words for words in found.words)


@pytest.mark.slow
def test_a_browser_shows_it_without_a_word(cli: Cli, judged: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = os.environ.get("GENTOOL_BROWSER") or next(filter(None, map(which, names)), None)
    if chromium is None:
        pytest.skip("no chromium is installed; GENTOOL_BROWSER names another place of it")
    assert cli("report", judged).code == 0
    asked: list[str] = []
    said: list[str] = []
    with playwright.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page(viewport={"width": 1000, "height": 800})
        tab.on("request", lambda r: asked.append(r.url))
        tab.on("console", lambda m: said.append(m.text))
        tab.on("pageerror", lambda e: said.append(str(e)))
        tab.goto(Path("report.html").resolve().as_uri())
        sizes = tab.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
        overflow = tab.evaluate("document.documentElement.scrollWidth > innerWidth")
        pdf = tab.pdf(format="A4")
        browser.close()
    outside = [a for a in asked if not re.match(r"file:///.*/report\.html$|data:", a)]
    assert not outside and not said
    assert len(sizes) == 4 and all(sizes) and not overflow
    assert pdf.startswith(b"%PDF")
