"""Runs whose files somebody edited: shown as far as they make sense, and no other run suffers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from PIL import Image

from gentool.console import is_showable
from gentool.render.card import text
from gentool.render.curves import save_curves

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--steps", "2")
ROWS = [
    {"step": 1, "epoch": 1, "split": "train", "loss": 10**400, "$x^{$": 1.5},
    {"step": 2, "epoch": 1, "split": "$\\frac$", "loss": 1e308, "$x^{$": -1e308},
    {"step": 10**30, "epoch": None, "split": ["a"], "_hidden": 2, "\ud800\x1b[2J\x9b": 3.0},
    {"step": -5, "epoch": {}, "split": None, "loss": float("inf"), "nan": float("nan")},
]


def test_curves_of_anything(tmp_path: Path) -> None:
    rows = [*ROWS, *({"step": i, f"scalar{i}": i} for i in range(200))]
    save_curves(rows, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").height < 10_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, True), (-2.5, True), (10**400, False), (1e308, False), (float("nan"), False)],
)
def test_numbers_for_people(value: float, shown: bool) -> None:
    assert is_showable(value) == shown
    assert not is_showable(True) and not is_showable("1") and not is_showable(None)


def test_one_edited_run_spoils_no_list(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL).code == 0
    good = tmp_path / "runs" / "vae-glyphs-001"
    for name, change in {
        "a": {"environment": {}, "data_options": [], "model": "\x1b[31m\ud800"},
        "b": {"plugin": None, "settings": 5, "data": {"shape": 7}},
    }.items():
        other = tmp_path / "runs" / name
        other.mkdir()
        config = json.loads((good / "config.json").read_text()) | change
        (other / "config.json").write_text(json.dumps(config))
        (other / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    for command in (("runs", "list"), ("runs", "list", "--json"), ("runs", "show", "a")):
        result = cli(*command)
        assert result.code == 0, result
        assert "\x1b" not in result.out and "\x9b" not in result.out
        result.out.encode("utf-8")
    rows = json.loads(cli("runs", "list", "--json").out)
    assert {Path(row["run"]).name for row in rows} == {"a", "b", "vae-glyphs-001"}


def test_a_card_of_an_edited_config(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--out", "run").code == 0
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["environment"], config["plugin"]["version"]
    config["mystery"] = 1
    path.write_text(json.dumps(config))
    result = cli("resume", "run", "--steps", 4)
    assert "Traceback" not in result.err and result.code in (0, 2), result
    if result.code == 0:
        assert "gentool" in (tmp_path / "run" / "README.md").read_text()


def test_markup_is_shown_not_obeyed() -> None:
    assert text("<img src=x>") == "&lt;img src=x&gt;"
    assert text("a|b\n[x](http://y)") == "a\\|b\\\\n\\[x\\](http://y)"
