"""The page: a comparison where there are several runs, then each run by itself."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from gentool.compare import groups, plot
from gentool.compare import table as compared
from gentool.compare.read import Member, evaluations, shown
from gentool.errors import UserError
from gentool.folder import Folder
from gentool.metrics import table as judged
from gentool.render.curves import save_curves
from gentool.report import html
from gentool.version import __version__

MOST_PICTURE = 2**24
"""Bytes of a picture that a page takes in."""

MOST_WARNINGS, MOST_NAMED = 20, 2


def report(members: Sequence[Member]) -> str:
    """Runs as a page of HTML."""
    names = ", ".join(m.name for m in members)
    if len(members) > MOST_NAMED:
        names = f"{len(members)} runs: {members[0].name} to {members[-1].name}"
    written = f"written by gentool {__version__}"
    parts = [f"<h1>{html.text(names)}</h1>", f'<p class="facts">{html.text(written)}</p>']
    if len(members) > 1:
        links = (f'<a href="#run-{i}">{html.text(m.name)}</a>' for i, m in enumerate(members))
        parts.append(f"<nav>{' · '.join(links)}</nav>")
        parts.append(_comparison(members))
    parts += [_run(member, i) for i, member in enumerate(members)]
    style = (resources.files("gentool.report") / "style.css").read_text(encoding="utf-8")
    return html.page(names, style, "\n".join(part for part in parts if part))


def _comparison(members: Sequence[Member]) -> str:
    found = groups.group(members)
    metrics = groups.choose(members, None)
    parts = ["<h2>Side by side</h2>"]
    parts.append(html.table(compared.headers(found, metrics), compared.rows(found, metrics)))
    if any(len(one.members) > 1 for one in found):
        parts.append(
            '<p class="caption">Mean ± standard deviation over runs that differ by their seed '
            "alone; bands are one deviation wide on each side.</p>"
        )
    parts += [f'<p class="warning">{html.text(r)}</p>' for r in groups.remarks(found, metrics)]
    file = io.BytesIO()
    try:
        plot.draw(found, groups.curve_names(members), file)
        parts.append(html.picture(file.getvalue(), "test scalars over steps"))
    except UserError:  # no curves yet
        pass
    return "\n".join(parts)


def _run(member: Member, number: int) -> str:
    with member.run.folder() as folder:
        parts = [
            f'<section class="run" id="run-{number}"><h2>{html.text(member.name)}</h2>',
            _facts(member),
            _repeat(folder),
            _warnings(member.rows),
            '<div class="pair">',
            _image(folder, "", _newest(folder), "samples at the end", pixels=True),
            _image(folder, "", "samples.gif", "the same samples while it trained", pixels=True),
            "</div>",
            _curves(member.rows),
            _judgements(folder),
            _image(folder, "results", "neighbours.png", NEIGHBOURS, pixels=True),
            _options(member.config),
            "</section>",
        ]
    return "\n".join(part for part in parts if part)


NEIGHBOURS = "each row a sample, and the training images that are nearest to it"


def _facts(member: Member) -> str:
    config = member.config
    plugin, data = _table(config, "plugin"), _table(config, "data")
    shape = data.get("shape")
    sizes = " × ".join(map(str, shape)) if isinstance(shape, list) else "?"
    facts = [
        f"{config.get('model')} (from {plugin.get('distribution')} {plugin.get('version')})",
        f"on {_table(config, 'data_options').get('data')}, {data.get('kind')} of {sizes}",
        f"seed {member.seed}",
        f"step {member.step:,}",
    ]
    return f'<p class="facts">{html.text("; ".join(facts), 500)}</p>'


def _repeat(folder: Folder) -> str:
    """How to train the same again: the command and the environment, as the run's recipe says."""
    try:
        recipe = folder.read("recipe.toml", 2**16).decode("utf-8", "replace")
    except OSError:
        return ""
    said = [line[1:].strip() for line in recipe.splitlines()[:10] if line.startswith("#")]
    commands = [line for line in said if line.startswith("gentool train ") and "THIS" not in line]
    facts = [line for line in said if line.startswith("It was trained with ")]
    return "\n".join(
        [
            "<h3>How to repeat it</h3>",
            *(f"<pre>{html.text(line, 2000)}</pre>" for line in commands[:1]),
            *(f'<p class="caption">{html.text(line, 500)}</p>' for line in facts[:1]),
        ]
    )


def _warnings(rows: Iterable[Mapping[str, Any]]) -> str:
    steps: dict[str, int] = {}
    for row in rows:
        if row.get("warning"):
            steps[str(row["warning"])] = row["step"]
    said = [f"step {step}: {w}" for w, step in steps.items()][-MOST_WARNINGS:]
    return "".join(f'<p class="warning">{html.text(w, 500)}</p>' for w in said)


def _newest(folder: Folder) -> str:
    """The newest sample picture as ``samples/NAME``; empty where there is none."""
    try:
        with folder.folder("samples") as samples:
            names = sorted((n for n in samples.names() if n.endswith(".png")), key=_by_step)
    except OSError:
        return ""
    return f"samples/{names[-1]}" if names else ""


def _by_step(name: str) -> tuple[int, str]:
    return len(name), name


def _image(folder: Folder, inner: str, name: str, caption: str, *, pixels: bool = False) -> str:
    """A picture of the run; nothing where there is none, or where it leads elsewhere."""
    if "/" in name:
        inner, name = name.split("/", 1)
    try:
        if not inner:
            content = folder.read(name, MOST_PICTURE)
        else:
            with folder.folder(inner) as place:
                content = place.read(name, MOST_PICTURE)
    except OSError:
        return ""
    return html.picture(content, caption, pixels=pixels)


def _curves(rows: list[dict[str, Any]]) -> str:
    file = io.BytesIO()
    save_curves(rows, file)
    return html.picture(file.getvalue(), "every scalar of metrics.jsonl over the step")


def _judgements(folder: Folder) -> str:
    """Every evaluation, newest last, each number with its floor."""
    parts = []
    for record in evaluations(folder):
        try:
            table = html.table(judged.headers([record]), judged.rows([record]))
            caption = judged.caption(record)
        except (KeyError, TypeError, ValueError, AttributeError):  # somebody edited it
            continue
        warnings = record.get("warnings")
        said = warnings if isinstance(warnings, list) else []
        parts += [table, f'<p class="caption">{html.text(caption, 500)}</p>']
        parts += [f'<p class="warning">{html.text(w, 500)}</p>' for w in said[:MOST_WARNINGS]]
    return "\n".join(["<h3>Evaluations</h3>", *parts]) if parts else ""


def _options(config: Mapping[str, Any]) -> str:
    parts = []
    names = {
        "config": "Options of the model",
        "settings": "Training",
        "data_options": "Data",
        "environment": "Environment",
    }
    for key, title in names.items():
        values = {k: v for k, v in list(_table(config, key).items())[:200] if v is not None}
        if values:
            rows = [(name, shown(value)) for name, value in values.items()]
            parts.append(f"<h3>{title}</h3>{html.table(('option', 'value'), rows)}")
    return f'<div class="columns">{"".join(parts)}</div>' if parts else ""


def _table(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
