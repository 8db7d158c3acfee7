"""The pages on the models quote the code; every quoted line must be in the file they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))
FILE = re.compile(r"`((?:plugins|gentool)/[\w/]+\.py)`")


def quotations(page: str) -> list[tuple[str, str]]:
    """(file, line of code) for blocks and table cells, by the file named last before them."""
    found, named, inside = [], "", False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
        elif inside:
            found.append((named, line.strip()))
        elif names := FILE.findall(line):
            named = names[-1]
        elif line.startswith("|") and named:
            cells = re.findall(r"`([^`]+)`", line.rsplit("|", 2)[1])
            found += [(named, cell) for cell in cells if re.search(r"[=(\[]", cell)]
    return [(name, line) for name, line in found if line]


def test_there_is_a_page_for_each_of_the_four() -> None:
    assert {p.stem for p in PAGES} >= {"vae", "gan", "dcgan", "wgan"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_quoted_code_is_in_the_file_it_is_said_to_be_in(page: Path) -> None:
    quoted = quotations(page.read_text(encoding="utf-8"))
    assert len(quoted) >= 4
    for name, line in quoted:
        code = {text.strip() for text in (ROOT / name).read_text(encoding="utf-8").splitlines()}
        assert line in code, f"{page.name} quotes {line!r}, which is not in {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_files_that_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for recipe in re.findall(r"gentool/recipes/[\w-]+\.toml", text):
        assert (ROOT / recipe).exists(), f"{page.name} names {recipe}"
