"""Every recipe is understood by the model it names, and says where it comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gentool import options, plugins
from gentool.data.options import DataOptions
from gentool.options import read_toml
from gentool.train.settings import TrainSettings

FOLDER = Path(__file__).resolve().parents[1] / "gentool" / "recipes"
RECIPES = [p for p in sorted(FOLDER.glob("*.toml")) if "\nmodel" in "\n" + p.read_text("utf-8")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_is_understood(path: Path) -> None:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    config = plugins.spec_of(plugins.find(content["model"])).config
    kinds = (config, DataOptions, TrainSettings)
    fields = [field for kind in kinds for field in options.fields_of(kind)]
    chosen = read_toml(path, fields, content["model"])
    for kind in kinds:
        names = {field.name for field in options.fields_of(kind)}
        options.build(kind, {name: v for name, v in chosen.items() if name in names})


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_says_where_it_comes_from(path: Path) -> None:
    about = tomllib.loads(path.read_text(encoding="utf-8"))["recipe"]
    assert all(about[key].strip() for key in ("source", "setting", "notes"))
