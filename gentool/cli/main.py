"""The command line: one module a verb, torch imported inside the commands only."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, ClassVar

import typer

from gentool.cli.lazy import LazyGroup, Verb
from gentool.console import outlive_terminal, say, speaks, warnings_as_lines
from gentool.errors import UserError
from gentool.train.stopping import Stopped
from gentool.version import __version__


class Root(LazyGroup):
    """The verbs, in the order in which people need them."""

    verbs: ClassVar[dict[str, Verb]] = {
        "train": Verb("gentool.cli.train:app", "Train a model."),
        "resume": Verb("gentool.cli.resume:resume", "Go on where a run stopped."),
        "sample": Verb("gentool.cli.sample:sample", "Draw samples from a trained model."),
        "evaluate": Verb("gentool.cli.evaluate:evaluate", "Judge trained models."),
        "verify": Verb("gentool.cli.verify:verify", "Reproduce published numbers."),
        "export": Verb("gentool.cli.export:export", "Write a model in another format."),
        "models": Verb("gentool.cli.models:models", "List the installed models."),
        "data": Verb("gentool.cli.data:app", "List data sources, and look at one."),
        "runs": Verb("gentool.cli.runs:app", "List runs, and show one."),
        "plugins": Verb("gentool.cli.plugins:app", "List, examine and start plugins."),
        "kernels": Verb("gentool.cli.kernels:app", "Compiled kernels: status, build, bench."),
    }


app = typer.Typer(
    name="gentool",
    cls=Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


INTERRUPTED = 130
"""The exit code of Ctrl-C."""


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


def share_cores() -> None:
    """Have OpenMP's threads sleep soon while they wait for each other; torch is not loaded yet.

    By default GNU's spin for a few milliseconds. Alone on a machine that gains nothing; beside
    another busy process it made training on two cores tens of times slower (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main() -> None:
    """The entry point: an error that a user can mend is one sentence and exit code 2."""
    outlive_terminal()
    warnings_as_lines()
    share_cores()
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _fail(error, str(error))
    except Stopped as stopped:
        if speaks():
            say(f"gentool: {stopped}")
        sys.exit(stopped.code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # `gentool models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        # Typer's own complaints have a common interface, but no common public base class.
        if hasattr(error, "format_message"):
            message = str(error.format_message())
            if message.startswith("Usage:"):  # a bare `gentool` asks for help
                print(message)
                sys.exit(2)
            _fail(error, message.rstrip("."))
        if not speaks() and not os.environ.get("GENTOOL_DEBUG"):
            # Another process failed and took the connection with it; it says why.
            time.sleep(3)
            sys.exit(2)
        raise
    if code == INTERRUPTED:  # Typer turns Ctrl-C into a code
        say("gentool: interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: Exception, message: str) -> None:
    if os.environ.get("GENTOOL_DEBUG"):
        raise error
    if not speaks():
        # What fails everywhere is said once: the first process ends the others meanwhile.
        time.sleep(3)
    say(f"gentool: {message}")
    sys.exit(2)
