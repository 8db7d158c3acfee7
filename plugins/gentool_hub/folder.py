"""A folder as model hubs keep them: config.json, model.safetensors, README.md with YAML on top.

The weights are the run's file, byte for byte, so ``gentool sample FOLDER`` works on a download. It
writes beside the caller: a folder without a training in it is no run.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

from gentool.errors import UserError, printable
from gentool.exporters import Export
from gentool.files import user_errors, write_json, write_text, written_aside
from gentool.model import parameter_count
from gentool.version import __version__
from gentool.weights import save_model

CONFIG, WEIGHTS, CARD, PICTURE = "config.json", "model.safetensors", "README.md", "samples.png"

LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}")


def export(job: Export) -> None:
    """Write the folder `job.out`; raises UserError for a licence that no hub could list."""
    if job.licence and not LICENCE.fullmatch(job.licence):
        raise UserError(
            f"--licence {printable(job.licence, 60)!r} is no identifier such as CC-BY-4.0 or MIT"
        )
    header = job.loaded.header
    with user_errors("the folder", job.out):
        job.out.mkdir(parents=True, exist_ok=True)
        if job.of_checkpoint:  # whose weights have no header of their own
            save_model(job.out / WEIGHTS, job.loaded.model.state_dict(), header)
        else:
            with written_aside(job.out / WEIGHTS) as aside:
                shutil.copyfile(job.file, aside)
        facts = {"library_name": "gentool", "model_type": header.model, **header.to_json()}
        write_json(job.out / CONFIG, facts)
        pictures = sorted(job.run.samples.glob("*.png")) if job.run else []
        if pictures:
            with written_aside(job.out / PICTURE) as aside:
                shutil.copyfile(pictures[-1], aside)
        write_text(job.out / CARD, card(job, bool(pictures)))


def card(job: Export, picture: bool) -> str:
    """The model card: YAML that hubs read, then prose that people read."""
    header, spec = job.loaded.header, job.loaded.spec
    task = "unconditional-image-generation" if header.data.kind == "image" else "other"
    tags = ["gentool", header.model, "generative-model"]
    yaml: dict[str, Any] = {"library_name": "gentool", "pipeline_tag": task, "tags": tags}
    # JSON is YAML: quoting it so leaves nothing for a name to break out of.
    yaml |= {"license": job.licence.lower()} if job.licence else {}
    front = [f"{key}: {json.dumps(value)}" for key, value in yaml.items()]
    shape = " × ".join(map(str, header.data.shape))
    lines = [
        "---",
        *front,
        "---",
        "",
        f"# {cell(header.model)}",
        "",
        f"{cell(spec.summary)[:1].upper()}{cell(spec.summary)[1:]}. {cell(spec.paper)}".strip(),
        "",
        f"- learns: {header.data.kind} of shape {shape}",
        f"- parameters: {parameter_count(job.loaded.model):,}",
        f"- from the package {cell(header.distribution)} {cell(header.version)}",
        "",
        "```",
        f"pip install gentool=={__version__}"
        + ("" if header.distribution == "gentool" else f" {header.distribution}"),
        f"gentool sample {WEIGHTS} --n 64",
        "```",
        "",
    ]
    if picture:
        lines += [f"![samples]({PICTURE})", ""]
    lines += table("option", header.config)
    if job.run is not None and (rows := job.run.read_metrics()):
        last = {f"{r['split']} {k}": v for r in rows for k, v in r.items()}
        kept = {k: v for k, v in last.items() if isinstance(v, float)}
        lines += ["", *table("last metric", kept)]
    return "\n".join(lines) + "\n"


def table(title: str, values: dict[str, Any]) -> list[str]:
    """A Markdown table of two columns."""
    shown = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in values.items()}
    rows = [f"| {cell(k)} | {cell(v)} |" for k, v in shown.items()]
    return [f"| {title} | value |", "| --- | --- |", *rows]


def cell(text: str) -> str:
    """Text that cannot leave its place in the card."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")
