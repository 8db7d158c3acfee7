"""A package that exits, crashes, loops or cannot be printed takes no list with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from gentool import hooks, hookspecs, plugins, quarantine

Cli = Callable[..., Result]

UNPRINTABLE = """
class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")
raise Odd
"""
BAD = {
    "exits": "import os; os._exit(0)",
    "leaves": "raise SystemExit(3)",
    "crashes": "import os; os.abort()",
    "unprintable": UNPRINTABLE,
    "breaks": "raise ValueError('\\x1b[31mred')",
}
LOOPS = "while True: pass"
GOOD_SOURCE = """
from gentool.hookspecs import hookimpl
from gentool.spec import SourceInfo

@hookimpl
def gentool_data_sources(register):
    register(SourceInfo("fine", "built-in", "works", "nowhere:load"))
"""


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Install made-up packages: announce(name, source, group)."""
    from gentool.data import registry

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("GENTOOL_PLUGINS", raising=False)
    monkeypatch.setattr(plugins, "_manager", plugins._manager.__wrapped__)
    monkeypatch.setattr(hooks, "_called", set())
    monkeypatch.setattr(registry, "_SOURCES", list(registry._SOURCES))

    def add(name: str, source: str, group: str) -> None:
        (folder / f"made_up_{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"made_up_{name}", raising=False)
        info = folder / f"acme_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = made_up_{name}\n")

    return add


def test_models_are_listed_beside_bad_ones(announce: Callable, cli: Cli) -> None:
    for name, source in BAD.items():
        announce(name, source, hookspecs.GROUP)
    result = cli("models")
    assert result.code == 0 and "vae" in result.out and "\x1b" not in result.err
    for name in BAD:
        assert f"acme-{name}:{name} does not load" in result.err
    rows = {row["name"]: row for row in json.loads(cli("models", "--json").out)}
    assert "ends Python with status 0" in rows["exits"]["error"]
    assert "Odd: (its text cannot be printed)" in rows["unprintable"]["error"]
    assert "error" not in rows["vae"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["data list", "evaluate --list"])
def test_sources_and_metrics_are_listed_beside_bad_ones(
    announce: Callable, cli: Cli, command: str
) -> None:
    for name, source in BAD.items():
        announce(name, source, hookspecs.HOOKS_GROUP)
    announce("good", GOOD_SOURCE, hookspecs.HOOKS_GROUP)
    result = cli(*command.split())
    assert result.code == 0, result
    assert ("fine" in result.out) == (command == "data list")
    for name in BAD:
        assert f"acme-{name}:{name} does not load" in result.err


def test_an_import_that_never_ends(
    announce: Callable, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce("loops", LOOPS, hookspecs.GROUP)
    monkeypatch.setattr(quarantine, "PATIENCE", 1.0)
    result = cli("models")
    assert result.code == 0 and "vae" in result.out
    assert "acme-loops:loops does not load (importing it does not end within 1 s)" in result.err


def test_the_toolkits_own_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(plugin: plugins.Plugin) -> None:
        raise AssertionError(plugin)

    monkeypatch.setattr(quarantine, "_start", never)
    own = [p for p in plugins.installed() if p.distribution == plugins.OWN]
    assert own and quarantine.problems(own) == {}
