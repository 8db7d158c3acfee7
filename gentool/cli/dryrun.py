"""``gentool train MODEL --dry-run``: what would be trained, before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gentool.cli.runs_list import size
from gentool.console import print_json, print_table, say, tell


def show_dry_run(model: str, config: Path | None, chosen: Mapping[str, Any], json: bool) -> None:
    """Print the facts of `gentool.train.dryrun.dry_run`; the picture goes to this directory."""
    from gentool.train.dryrun import dry_run
    from gentool.train.job import from_options

    job = from_options(model, chosen, config)
    facts = dry_run(job, None if json else Path(f"{job.plugin.name}-dry-run.png"))
    if json:
        print_json(facts)
        return
    data = facts["data"]
    shape = "x".join(map(str, data["shape"]))
    kind = f"{data['kind']}s of {shape}"
    counts = f"{data['train']:,} to train on, {data['test']:,} to test"
    tell(f"{facts['model']} on {data['name']}: {kind}, {counts}; see {facts['picture']}")
    for network in facts["networks"]:
        tell("")
        tell(f"{network['name']}: {network['parameters']:,} parameters")
        print_table(("layer", "kind", "output", "parameters"), list(map(_layer, network["layers"])))
    tell("")
    print_table(
        ("player", "minimises", "parameters", "by", "steps a round"),
        [
            (
                p["name"],
                p["minimises"] or "its own objective",
                f"{p['parameters']:,}",
                p["optimizer"],
                str(p["steps"]),
            )
            for p in facts["players"]
        ],
    )
    tell("")
    for name, value in _facts(facts):
        tell(f"{name:<10}  {value}")
    for remark in facts["remarks"]:
        say(f"note: {remark}")


def _layer(layer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    shape = "?" if layer["shape"] is None else "x".join(map(str, layer["shape"]))
    return layer["name"], layer["kind"], shape, f"{layer['parameters']:,}"


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    step, evaluation = facts["seconds_a_step"], facts["seconds_an_evaluation"]
    length = (
        f"{facts['steps']:,} steps of {facts['batch_size']} examples, {facts['epochs']:,} epochs"
    )
    tested = "" if evaluation is None else f", {duration(evaluation)} an evaluation"
    return [
        ("computes", facts["how"]),
        ("length", length),
        ("time", f"{duration(step)} a step{tested}; about {duration(facts['seconds'])} in all"),
        ("memory", f"{size(facts['memory'])} so far"),
        ("run", "none was made; leave out --dry-run to train"),
    ]


def duration(seconds: float) -> str:
    """Seconds for people: ``1.3 ms``, ``12 s``, ``4 min``, ``2.5 h`` or ``3.1 days``."""
    for limit, unit, text in (
        (1, 1e-3, "ms"),
        (90, 1, "s"),
        (5400, 60, "min"),
        (129600, 3600, "h"),
    ):
        if seconds < limit:
            return f"{seconds / unit:.3g} {text}"
    return f"{seconds / 86400:.3g} days"
