"""The model card: what a run is, for whoever opens its folder."""

from __future__ import annotations

from typing import Any

from gentool.files import write_text
from gentool.model import Model, parameter_count
from gentool.runs import Run


def write_card(run: Run, rows: list[dict[str, Any]], model: Model) -> None:
    """Write README.md into the run."""
    config = run.read_config()
    data = config["data"]
    last = {str(r["split"]): r for r in rows}
    pictures = run.pictures()
    plugin, version = config["plugin"], config["environment"]["gentool"]
    lines = [
        f"# {config['model']} on {config['data_options']['data']}",
        "",
        f"From {plugin['distribution']} {plugin['version']}, trained with gentool {version}.",
        "",
        f"- data: {data['kind']}, shape {' × '.join(map(str, data['shape']))}",
        f"- parameters: {parameter_count(model):,}",
        f"- seed: {config['settings']['seed']}",
        "",
        "```",
        f"gentool sample {run.path} --n 64",
        "```",
        "",
    ]
    if pictures:
        lines += [f"![samples](samples/{pictures[-1].name})", ""]
    lines += ["![curves](curves.png)", "", "## Last metrics", "", "| split | scalar | value |"]
    lines += ["| --- | --- | --- |"]
    for split, row in last.items():
        for name, value in row.items():
            if name not in ("split",) and value is not None:
                shown = f"{value:.6g}" if isinstance(value, float) else str(value)
                lines.append(f"| {split} | {name} | {shown} |")
    lines += ["", "## Options of the model", "", "| option | value |", "| --- | --- |"]
    lines += [f"| {k} | {v} |" for k, v in config["config"].items()]
    write_text(run.card, "\n".join(lines) + "\n")
