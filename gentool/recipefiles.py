"""Where recipes lie: the shipped ones by name, others by path. What they hold is read elsewhere."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from gentool.errors import UserError, nearest, printable
from gentool.files import is_file, read_named

LARGEST = 2**20
"""Bytes of a recipe."""


def folder() -> Path:
    """Where the shipped recipes lie."""
    return Path(str(resources.files("gentool") / "recipes"))


def shipped() -> list[Path]:
    """The shipped recipes, by name."""
    return sorted(folder().glob("*.toml"))


def locate(name: str | os.PathLike[str]) -> Path:
    """A TOML file by its path, or a shipped recipe by its name.

    A file of that name wins; what ends in ``.toml`` or lies in a folder, a pipe too, is returned
    even where there is none, so that whoever opens it says so.

    Raises:
        UserError: for a name that is neither.
    """
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1 or is_file(path):
        return path
    known = {recipe.stem: recipe for recipe in shipped()}
    if (found := known.get(os.fspath(name))) is not None:
        return found
    raise UserError(
        f"there is no file and no recipe {printable(os.fspath(name), 80)!r}"
        f"{nearest(os.fspath(name), known)}; `gentool recipes` shows the recipes"
    )


def model_of(name: str | os.PathLike[str]) -> str:
    """The model that a recipe trains; raises UserError where it names none."""
    path = locate(name)
    shown = printable(str(path))
    try:
        model = tomllib.loads(read_named(path, LARGEST)).get("model")
    except OSError as error:
        raise UserError(f"--config {shown} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config {shown} is not TOML: {printable(str(error))}") from error
    if not isinstance(model, str) or not model:
        raise UserError(
            f'{shown} names no model; add a line such as model = "vae", or name it: '
            f"gentool train MODEL --config {printable(shlex.quote(str(path)))}"
        )
    return model


def with_model(arguments: Sequence[str]) -> list[str]:
    """The arguments of ``gentool train`` with the model first, read from ``--config`` if need be.

    Raises:
        UserError: where options stand alone, and no file says for which model.
    """
    given = list(arguments)
    if not given or not given[0].startswith("-"):
        return given
    for i, argument in enumerate(given):
        if argument == "--config" and i + 1 < len(given):
            return [model_of(given[i + 1]), *given]
        if argument.startswith("--config="):
            return [model_of(argument.partition("=")[2]), *given]
    if given[0] in ("-h", "--help", "--config"):
        return given
    raise UserError(
        "name the model first, as in `gentool train vae --epochs 3`, or a file with "
        "--config; `gentool models` lists the models"
    )
