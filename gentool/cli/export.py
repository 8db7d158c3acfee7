"""``gentool export``: a trained model for other programs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gentool.console import say, tell
from gentool.errors import UserError, printable
from gentool.files import check_out


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[RUN|FILE] OUT",
            help="A run or model.safetensors (default: the latest run); where to, such as "
            "model.onnx, page.html or a folder.",
        ),
    ],
    out: Annotated[str | None, typer.Argument(metavar="", show_default=False)] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="The format, where OUT's ending does not say.")
    ] = None,
    fp32: Annotated[
        bool, typer.Option("--fp32", help="Keep float32 weights where a format would halve them.")
    ] = False,
    licence: Annotated[
        str,
        typer.Option("--licence", "--license", help="Under what it is handed on, e.g. CC-BY-4.0."),
    ] = "",
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="USER/NAME", help="Send the folder to Hugging Face too."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what OUT names.")] = False,
) -> None:
    """Write a trained model in another format: ONNX, one page for a browser, a hub's folder."""
    # With one argument it is OUT, and the latest run is exported.
    run_name, target = (None, Path(source)) if out is None else (source, Path(out))
    from gentool import exporters
    from gentool.runs import Run

    check_out(target, True, "OUT")
    if Run(target).state.is_dir():
        shown = printable(shlex.quote(str(target)))
        raise UserError(f"{shown} is a run; say where to: gentool export {shown} model.onnx")
    exporter = exporters.find(target, format)
    check_out(target, force, "OUT")
    send = None if push is None else exporters.pusher(exporter)

    from gentool import runs
    from gentool.loading import load

    found = runs.locate(run_name)
    job = exporters.Export(load(found.file), found.file, found.run, target, fp32, licence)
    exporters.run(exporter, job)
    address = None if send is None or push is None else send(job, push)
    for note in job.notes:
        say(note)
    tell(str(target))
    if address is not None:
        tell(address)
