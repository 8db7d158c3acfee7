"""The model card: what a run is, for whoever opens its folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gentool.errors import printable
from gentool.model import Model, parameter_count
from gentool.runs import Run


def card(
    run: Run,
    config: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    pictures: Sequence[str],
    model: Model,
    curves: bool = True,
) -> str:
    """The text of README.md.

    What the run's files do not say, since somebody edited them, is a question mark.

    Args:
        config: the run's config.json.
        rows: those of metrics.jsonl.
        curves: whether there is a picture of them.
        pictures: the names of the sample pictures, the latest last.
    """

    def entry(*names: str) -> str:
        value: Any = config
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return "?" if value is None else text(value)

    data = config.get("data")
    shape = data.get("shape") if isinstance(data, dict) else None
    sides = shape if isinstance(shape, list) else ["?"]
    last = {text(row.get("split")): row for row in rows}
    plugin = f"{entry('plugin', 'distribution')} {entry('plugin', 'version')}"
    lines = [
        f"# {entry('model')} on {entry('data_options', 'data')}",
        "",
        f"From {plugin}, trained with gentool {entry('environment', 'gentool')}.",
        "",
        f"- data: {entry('data', 'kind')}, shape {' × '.join(map(text, sides))}",
        f"- parameters: {parameter_count(model):,}",
        f"- seed: {entry('settings', 'seed')}",
        "",
        "```",
        f"gentool sample {printable(shlex.quote(str(run.path)))} --n 64",
        f"gentool train --config {printable(shlex.quote(str(run.recipe)))}",
        "```",
        "",
    ]
    if pictures:
        lines += [f"![samples](samples/{text(pictures[-1])})", ""]
    if curves:
        lines += ["![curves](curves.png)", ""]
    lines += ["## Last metrics", "", "| split | scalar | value |"]
    lines += ["| --- | --- | --- |"]
    for split, row in last.items():
        for name, value in row.items():
            if name not in ("split",) and value is not None:
                shown = f"{value:.6g}" if isinstance(value, float) else text(value)
                lines.append(f"| {split} | {text(name)} | {shown} |")
    lines += ["", "## Options of the model", "", "| option | value |", "| --- | --- |"]
    options = config.get("config")
    if isinstance(options, dict):
        lines += [f"| {text(k)} | {text(v)} |" for k, v in options.items()]
    return "\n".join(lines) + "\n"


def text(value: Any) -> str:
    """A value in Markdown: no markup, no link, no line of its own."""
    shown = printable(str(value))
    for character in "\\|`<>[]":
        shown = shown.replace(character, PLAIN.get(character, f"\\{character}"))
    return shown


PLAIN = {"<": "&lt;", ">": "&gt;"}
