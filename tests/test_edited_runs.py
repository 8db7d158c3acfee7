"""Runs whose files somebody edited: shown as far as they make sense, and no other run suffers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from hostile import newest, reseal
from PIL import Image

from gentool.console import is_showable
from gentool.files import write_json
from gentool.render import curves
from gentool.render.card import text

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--steps", "2")
ROWS = [
    {"step": 1, "epoch": 1, "split": "train", "loss": 10**400, "$x^{$": 1.5},
    {"step": 2, "epoch": 1, "split": "$\\frac$", "loss": 1e308, "$x^{$": -1e308},
    {"step": 10**30, "epoch": None, "split": ["a"], "_hidden": 2, "\ud800\x1b[2J\x9b": 3.0},
    {"step": -5, "epoch": {}, "split": None, "loss": float("inf"), "nan": float("nan")},
]


def test_curves_of_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST_PANELS", 6)
    rows = [*ROWS, *({"step": i, f"scalar{i}": i} for i in range(200))]
    curves.save_curves(rows, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1260, 560)  # 3 × 2 panels


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


def test_a_card_of_an_edited_config(cli: Cli, run: Path) -> None:
    path = run / "config.json"
    config = json.loads(path.read_text())
    del config["environment"], config["plugin"]["version"]
    config["mystery"] = 1
    path.write_text(json.dumps(config))
    result = cli("resume", "run", "--epochs", 3)
    assert "Traceback" not in result.err and result.code in (0, 2), result
    if result.code == 0:
        assert "gentool" in (run / "README.md").read_text()


def test_markup_is_shown_not_obeyed() -> None:
    assert text("<img src=x>") == "&lt;img src=x&gt;"
    assert text("a|b\n[x](http://y)") == "a\\|b\\\\n\\[x\\](http://y)"


STRANGE = [
    '{"step": 1, "epoch": 1, "split": "train", "$x^{$": 3.0, "loss": 1e308}',
    '{"step": 2, "epoch": 1, "split": "train", "loss": ' + "9" * 400 + "}",
    '{"step": 3, "split": ["train"], "loss": NaN, "x": {"y": 1}}',
    '{"step": ' + "9" * 400 + "}",
    '{"step": 4, "epoch": "x", "split": "$\\\\frac{$", "' + "n" * 10_000 + '": 1}',
    "[" * 100_000,
]


@pytest.mark.slow
def test_files_edited_by_hand_end_in_no_traceback(cli: Cli, run: Path) -> None:
    """Names that look like formulas, numbers that no float holds, huge pictures, missing facts."""
    config = json.loads((run / "config.json").read_text())
    del config["environment"]
    write_json(run / "config.json", config)
    newer = newest(run) / "state.json"
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n".join(STRANGE) + "\n")
    values = json.loads(newer.read_text())
    values["metrics_bytes"] = (run / "metrics.jsonl").stat().st_size
    newer.write_text(json.dumps(values))
    reseal(newest(run))
    Image.new("1", (30_000, 30_000)).save(run / "samples" / "000001.png")
    (run / "samples" / "000002.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 64)
    result = cli("resume", "run", "--epochs", "3")
    assert result.code == 0, result.err
    assert "trained with gentool ?" in (run / "README.md").read_text()
    assert (run / "curves.png").stat().st_size > 0 and (run / "samples.gif").stat().st_size > 0
    (run.parent / "runs").mkdir(exist_ok=True)
    run.rename(run.parent / "runs" / "strange")
    assert cli("runs", "list").code == 0 and cli("runs", "show", "strange").code == 0


def test_one_strange_run_hides_no_other(cli: Cli, run: Path, tmp_path: Path) -> None:
    for name, content in (("a", '{"model": ' + "9" * 5000 + "}"), ("b", "[" * 10**5), ("c", "{}")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text(content)
    shutil.copytree(run, tmp_path / "runs" / "good")
    result = cli("runs", "list")
    assert result.code == 0 and "good" in result.out and "vae" in result.out
