"""Training a run again: its options as a recipe, and as the command. No torch here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from gentool import options, plugins
from gentool.data.options import DataOptions
from gentool.errors import printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.options import Field
from gentool.train.job import DEFAULT_EPOCHS, Job
from gentool.train.settings import TrainSettings

CONFIG, RECIPE = "config.json", "recipe.toml"


def write(folder: Folder, content: Mapping[str, Any], job: Job) -> None:
    """Write a run's config.json, and beside it the recipe that trains it again.

    Raises:
        UserError: where they cannot be written.
    """
    environment = content.get("environment")
    with user_errors("the run's config", folder.path / CONFIG):
        folder.write_json(CONFIG, dict(content))
        text = recipe(job, environment if isinstance(environment, dict) else {})
        folder.write(RECIPE, text.encode())


def recipe(job: Job, environment: Mapping[str, Any]) -> str:
    """A TOML file for ``gentool train --config``: every option, the defaults written out.

    Args:
        environment: what bit-exact repetition depends on beside them, for a comment.
    """
    lines = [
        "# Trains the same again: gentool train --config THIS-FILE, or",
        f"#   {command(job)}",
    ]
    facts = [f"{printable(str(k))} {printable(str(v))}" for k, v in sorted(environment.items())]
    if facts:
        lines.append(f"# It was trained with {', '.join(facts)}.")
    lines.append(f"model = {_toml(_name(job))}")
    for field, value, default in _values(job):
        if value is not None or default is not None:
            shown = "none" if value is None else value
            lines.append(f"{field.flag[2:]} = {_toml(shown)}")
    return "\n".join(lines) + "\n"


def command(job: Job) -> str:
    """The command line that trains the job: every option that is not the default."""
    words = ["gentool", "train", _name(job)]
    for field, value, default in _values(job):
        if value == default:
            continue
        if field.base is bool:
            words.append(field.flag if value else f"--no-{field.flag[2:]}")
        else:
            words += [field.flag, _typed(field, value)]
    return shlex.join(words)


def _name(job: Job) -> str:
    """The model's name, and its distribution's where the name alone does not say it."""
    plugin = job.plugin
    return plugin.name if plugin.distribution == plugins.OWN else plugin.full_name


def _values(job: Job) -> Iterator[tuple[Field, Any, Any]]:
    """Each option with its value and its default, the model's own defaults counted.

    A time limit is of one process, and a cache of one machine: neither is the run's.
    """
    defaults = dict(job.spec.defaults)
    if "epochs" not in defaults and "steps" not in defaults:
        defaults["epochs"] = DEFAULT_EPOCHS
    for part in (job.config, job.data_options, job.settings):
        kind: type = type(part)
        for field in options.fields_of(kind):
            if (kind, field.name) in ((TrainSettings, "max_time"), (DataOptions, "cache")):
                continue
            value, default = getattr(part, field.name), defaults.get(field.name, field.default)
            if kind is TrainSettings and field.name in ("epochs", "steps") and value is None:
                continue  # the other one says how long
            yield field, value, tuple(default) if isinstance(default, list) else default


def _typed(field: Field, value: Any) -> str:
    """A value as text that `gentool.options.parse` reads as the same value."""
    if value is None:
        return "none"
    return ",".join(str(v) for v in value) if field.many else str(value)


def _toml(value: Any) -> str:
    """A value in TOML. JSON's texts are TOML's basic strings, but for DEL, which no option has."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)
