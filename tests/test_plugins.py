"""Discovery: names, clashes, and plugins that misbehave."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Result

from gentool import plugins
from gentool.errors import UserError

Cli = Callable[..., Result]

GOOD = """
from dataclasses import dataclass
from typing import Annotated
from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option

@dataclass(frozen=True)
class Config:
    {field}

@hookimpl
def gentool_model():
    return ModelSpec(summary="a test", config=Config, factory="nowhere:Model"{more})
"""
FIELD = 'depth: Annotated[int, Option("how deep", min=1)] = 3'


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str, str], None]:
    """Announce further entry points, of acme or bolt: announce(distribution, name, source)."""
    real = plugins.installed()
    extra: list[EntryPoint] = [p.entry_point for p in real]
    monkeypatch.setattr(plugins, "entry_points", lambda group: extra)
    monkeypatch.setattr(plugins, "_manager", plugins._manager.__wrapped__)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GENTOOL_PLUGINS", "acme,bolt")

    def add(distribution: str, name: str, source: str) -> None:
        module = f"made_up_{distribution}_{len(extra)}"
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        point = EntryPoint(name, module, "gentool")
        vars(point).update(dist=SimpleNamespace(name=distribution, version="1.0"))
        extra.append(point)

    return add


def source(field: str = FIELD, more: str = "") -> str:
    return GOOD.format(field=field, more=more)


def test_a_third_party_model_appears_with_its_package(announce: Callable, cli: Cli) -> None:
    announce("acme", "flow", source())
    rows = {r["name"]: r for r in json.loads(cli("models", "--json").out)}
    assert rows["flow"]["distribution"] == "acme" and rows["flow"]["summary"] == "a test"
    assert rows["vae"]["distribution"] == "gentool"
    help_text = cli("train", "flow", "--help").out
    assert "--depth" in help_text and "at least 1" in help_text and "--epochs" in help_text


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("raise RuntimeError('boom')", "boom"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("x = 1", "0 times"),
        (source(more=", api_version=99"), "interface 99"),
        (source(field="table: dict = None"), "unsupported type"),
        (source(field='epochs: Annotated[int, Option("mine")] = 3'), "clashes"),
        (source(more=", defaults={'no_such_option': 1}"), "no_such_option"),
        (GOOD.format(field=FIELD, more="").replace("ModelSpec(summary", "dict(summary"), "dict"),
    ],
    ids=["raises", "exits", "imports", "empty", "api", "type", "clash", "defaults", "no spec"],
)
def test_a_broken_plugin_harms_nobody_else(
    announce: Callable, cli: Cli, broken: str, words: str
) -> None:
    announce("acme", "flow", broken)
    assert cli("--help").code == 0
    listed = cli("models")
    assert listed.code == 0 and "vae" in listed.out
    assert "acme:flow" in listed.err and words in listed.err
    assert "flow" in cli("train", "--help").out
    assert cli("train", "vae", "--help").code == 0
    result = cli("train", "flow", "--help")
    assert result.code == 2 and words in result.err and "acme" in result.err
    assert "Traceback" not in result.err


def test_a_plugin_that_is_not_asked_for_is_not_imported(announce: Callable, cli: Cli) -> None:
    announce("acme", "slow", "raise SystemExit('imported!')")
    for arguments in (("--help",), ("train", "--help"), ("train", "vae", "--help")):
        result = cli(*arguments)
        assert result.code == 0 and "imported!" not in result.err


def test_on_a_clash_the_built_in_wins_with_a_warning(announce: Callable) -> None:
    announce("acme", "vae", source())
    with pytest.warns(UserWarning, match="acme:vae"):
        assert plugins.find("vae").distribution == "gentool"
    assert plugins.find("acme:vae").distribution == "acme"


def test_two_strangers_with_one_name_must_be_told_apart(announce: Callable, cli: Cli) -> None:
    announce("acme", "flow", source())
    announce("bolt", "flow", source())
    with pytest.raises(UserError, match="acme:flow or bolt:flow"):
        plugins.find("flow")
    assert cli("train", "bolt:flow", "--help").code == 0
    listed = cli("train", "--help").out
    assert "acme:flow" in listed and "bolt:flow" in listed


def test_unknown_full_names(announce: Callable) -> None:
    with pytest.raises(UserError, match="did you mean 'gentool:vae'"):
        plugins.find("gentol:vae")
