"""The command line: one module a verb, torch imported inside the commands only."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from gentool.cli import data, kernels, models, resume, runs, sample, train
from gentool.console import say, speaks, warnings_as_lines
from gentool.errors import UserError
from gentool.train.stopping import Stopped
from gentool.version import __version__

app = typer.Typer(
    name="gentool",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
app.command(name="resume")(resume.resume)
app.command(name="sample")(sample.sample)
app.command(name="models")(models.models)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(kernels.app, name="kernels")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gentool {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Train, sample and judge classic deep generative models."""
    if debug:
        os.environ["GENTOOL_DEBUG"] = "1"


def main() -> None:
    """The entry point: an error that a user can mend is one sentence and exit code 2."""
    warnings_as_lines()
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _fail(error, str(error))
    except Stopped as stopped:
        if speaks():
            say(f"gentool: {stopped}")
        sys.exit(stopped.code)
    except (KeyboardInterrupt, typer.Abort):
        say("gentool: interrupted")
        sys.exit(130)
    except BrokenPipeError:  # `gentool models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        # Typer's own complaints have a common interface, but no common public base class.
        if not hasattr(error, "format_message"):
            raise
        _fail(error, str(error.format_message()).rstrip("."))
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: Exception, message: str) -> None:
    if os.environ.get("GENTOOL_DEBUG"):
        raise error
    if not speaks():
        # What fails everywhere is said once: the first process ends the others meanwhile.
        time.sleep(3)
    say(f"gentool: {message}")
    sys.exit(2)
