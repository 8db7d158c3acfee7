"""``gentool plugins new``: a small package with a model of your own, written from templates."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from gentool import plugins
from gentool.errors import UserError, printable
from gentool.files import user_errors, write_text
from gentool.spec import API_VERSION
from gentool.version import __version__

PLACES = {
    "pyproject.toml.in": "pyproject.toml",
    "readme.md.in": "README.md",
    "init.py.in": "$module/__init__.py",
    "model.py.in": "$module/model.py",
    "test_model.py.in": "tests/test_model.py",
    "gitignore.in": ".gitignore",
}
"""The templates, and where each goes in the new package."""

LONGEST = 30


def write(name: str, folder: Path) -> Path:
    """Write the package for a model called `name` into the new `folder`, whole or not at all.

    Raises:
        UserError: for a name that cannot be a package's or is taken, or a folder that exists.
    """
    check_name(name)
    if folder.exists() or folder.is_symlink():
        raise UserError(
            f"{printable(str(folder))} already exists; choose another name, or a folder by --out"
        )
    words = {
        "name": name,
        "module": module_of(name),
        "distribution": f"gentool-{name.replace('_', '-')}",
        "title": "".join(part.capitalize() for part in re.split("[-_]", name)),
        "api": str(API_VERSION),
        "version": __version__,
    }
    templates = files("gentool.scaffold") / "template"
    with user_errors("the package", folder):
        try:
            for template, place in PLACES.items():
                text = (templates / template).read_text(encoding="utf-8")
                target = folder / Template(place).substitute(words)
                write_text(target, Template(text).substitute(words))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder


def module_of(name: str) -> str:
    """The name of the module that holds the model `name`."""
    return "gentool_" + name.replace("-", "_")


def check_name(name: str) -> None:
    """Raise UserError where a model and a package cannot be called `name`."""
    shown = printable(name, 60)
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or len(name) > LONGEST:
        raise UserError(
            f"{shown!r} cannot be a package's name; use up to {LONGEST} lower-case letters, digits "
            "and single dashes, a letter first, e.g. my-flow"
        )
    if name in plugins.by_short_name():
        raise UserError(f"there is a model called {shown!r} already; choose another name")
    if find_spec(module_of(name)) is not None:
        raise UserError(
            f"{shown!r} would need the module {module_of(name)}, which exists already; "
            "choose another name"
        )
