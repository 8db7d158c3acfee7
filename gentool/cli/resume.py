"""``gentool resume``: go on where a run stopped."""

from __future__ import annotations

from typing import Annotated

import typer


def resume(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run or a sweep; default: the latest.")
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option("--epochs", metavar="INT", help="Train to this many epochs in all."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option("--steps", metavar="INT", help="Train to this many batches in all."),
    ] = None,
    max_time: Annotated[
        str | None, typer.Option("--max-time", help="Save and stop after this long, e.g. 2h.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Another device.")] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", help="Folder for data that can be made again.")
    ] = None,
) -> None:
    """Continue a run from its newest checkpoint, bit for bit where nothing was changed."""
    from gentool import api, options
    from gentool.cli.done import say_done
    from gentool.cli.options import given
    from gentool.cli.sweep import go_on, is_sweep
    from gentool.errors import UserError, printable
    from gentool.train.settings import TrainSettings

    if (sweep := is_sweep(run)) is not None:
        if epochs or steps or device:
            raise UserError(
                f"{printable(str(sweep))} is a sweep, whose runs keep their length and device; "
                "resume one of its runs, or leave the option out"
            )
        go_on(sweep, 1, cache, max_time)
        return
    values = {"epochs": epochs, "steps": steps, "max_time": max_time, "device": device}
    say_done(api.resume(run, cache=cache, **given(options.fields_of(TrainSettings), values)))
