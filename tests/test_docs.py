"""The docs say what the program does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AT_THE_ROOT = ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")
PAGES = [*(ROOT / f"{n}.md" for n in AT_THE_ROOT), *sorted((ROOT / "docs").rglob("*.md"))]


def test_cli_page_is_what_the_program_prints() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_hook_is_documented() -> None:
    import gentool.hookspecs as hookspecs

    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    hooks = [n for n, v in vars(hookspecs).items() if hasattr(v, "gentool_spec")]
    assert hooks
    for name in hooks:
        assert name in text, f"docs/plugins.md does not mention {name}"


def test_every_figure_of_speed_has_the_command_that_measures_it() -> None:
    """Section by section: where there is a measured figure, a command that exists is beside it."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    figure = re.compile(r"\d(?: ?(?:ms|µs|MiB|GB|images/s|FLOP/s|%)| s\b|×(?!\d))")
    command = re.compile(r"`(?:time )?(?:python benchmarks/([\w.]+)|gentool )")
    measured = 0
    for section in re.split(r"^#{2,3} ", text, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        scripts = command.findall(section)
        if figure.search(section):
            measured += 1
            assert scripts, f"the section {title!r} has figures and no command"
        for script in filter(None, scripts):
            assert (ROOT / "benchmarks" / script).exists(), f"{title!r} names {script}"
    assert measured >= 6


def test_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.\w+|[\w-]+\.(?:toml|txt|md))`", text)
    assert len(named) > 30
    for name in named:
        if "NAME" not in name:
            assert (ROOT / name).exists(), name
        else:
            assert (ROOT / name).parent.exists() or "gentool_NAME" in name, name


def test_make_has_the_targets_that_contributing_names() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
