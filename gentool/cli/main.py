"""The command line: one module a verb, torch imported inside the commands only."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Annotated, ClassVar

import typer

from gentool.cli import completion
from gentool.cli.lazy import LazyGroup, Verb
from gentool.console import say, speaks, warnings_as_lines
from gentool.errors import UserError, os_sentence, printable
from gentool.streams import RESULTS, explain_bus_errors, flush_all, outlive_terminal
from gentool.train.stopping import Stopped
from gentool.version import __version__


class Root(LazyGroup):
    """The verbs, in the order in which people need them."""

    verbs: ClassVar[dict[str, Verb]] = {
        "train": Verb("gentool.cli.train:app", "Train a model.", "Make"),
        "sweep": Verb("gentool.cli.sweep:app", "Train every combination of some options.", "Make"),
        "resume": Verb("gentool.cli.resume:resume", "Go on where a run stopped.", "Make"),
        "recipes": Verb("gentool.cli.recipes:recipes", "List settings that were tried.", "Make"),
        "sample": Verb("gentool.cli.sample:sample", "Draw samples from a trained model."),
        "reconstruct": Verb(
            "gentool.cli.reconstruct:reconstruct", "Show images beside their reconstructions."
        ),
        "interpolate": Verb("gentool.cli.interpolate:interpolate", "Walk between points."),
        "directions": Verb(
            "gentool.cli.directions:directions", "Find where 'smile' points, and keep it."
        ),
        "edit": Verb("gentool.cli.edit:edit", "Turn a smile up or down; mix faces."),
        "restore": Verb(
            "gentool.cli.restore:restore", "Fill holes, sharpen, colourise; say how sure it is."
        ),
        "explore": Verb("gentool.cli.explore:explore", "Play with a model in a browser."),
        "evaluate": Verb("gentool.cli.evaluate:evaluate", "Judge trained models.", "Judge"),
        "verify": Verb("gentool.cli.verify:verify", "Reproduce published numbers.", "Judge"),
        "report": Verb("gentool.cli.report:report", "Write a page on some runs.", "Judge"),
        "export": Verb("gentool.cli.export:export", "Write a model in another format."),
        "models": Verb("gentool.cli.models:models", "List the installed models.", "Extend"),
        "data": Verb("gentool.cli.data:app", "List data sources, and look at one.", "Extend"),
        "runs": Verb("gentool.cli.runs:app", "List runs, and show one.", "Judge"),
        "plugins": Verb("gentool.cli.plugins:app", "List, examine and start plugins.", "Extend"),
        "kernels": Verb(
            "gentool.cli.kernels:app", "Compiled kernels: status, build, bench.", "Extend"
        ),
    }


app = typer.Typer(
    name="gentool",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


INTERRUPTED = 130
"""The exit code of Ctrl-C."""

MISTAKE = 2
"""The exit code of what a user can mend."""

OUT_OF_MEMORY = re.compile(r"[Cc]an(no|')t allocate memory|out of memory|unable to mmap")
"""In what torch and safetensors say; they raise a plain RuntimeError."""


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
    explain_bus_errors()
    warnings_as_lines()
    share_cores()
    code = _answer()
    if not flush_all(lambda error: say(f"gentool: {os_sentence(error)}")):
        code = code or MISTAKE
    sys.exit(code)


def _answer() -> int:
    """Run the verb; returns the exit code."""
    try:
        code = app(prog_name="gentool", standalone_mode=False)
    except UserError as error:
        return _fail(error, str(error))
    except Stopped as stopped:
        if speaks():
            say(f"gentool: {stopped}")
        return stopped.code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # `gentool models | head`
        return 0
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # Typer's way of telling the same
            return 0
        raise
    except OSError as error:
        if error.filename == RESULTS:
            return MISTAKE  # told by `main`, once
        return _fail(error, os_sentence(error))
    except Exception as error:
        return _explain(error)
    if code == INTERRUPTED:  # Typer turns Ctrl-C into a code
        say("gentool: interrupted")
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """The sentence of an error that is neither ours nor the system's; a fault is raised again."""
    # Typer's own complaints have a common interface, but no common public base class.
    if hasattr(error, "format_message"):
        message = str(error.format_message())
        if message.startswith("Usage:"):  # a bare `gentool` asks for help
            print(message)
            return MISTAKE
        return _fail(error, message.rstrip("."))
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        return _fail(error, f"there is too little memory ({_first_line(error)}); ask for less")
    if not speaks() and not os.environ.get("GENTOOL_DEBUG"):
        # Another process failed and took the connection with it; it says why.
        time.sleep(3)
        return MISTAKE
    raise error


def _first_line(error: Exception) -> str:
    return printable((str(error) or type(error).__name__).splitlines()[0], 200)


def _fail(error: Exception, message: str) -> int:
    if completion.is_asked():  # a Tab is no place for a complaint
        return MISTAKE
    if os.environ.get("GENTOOL_DEBUG"):
        raise error
    if not speaks():
        # What fails everywhere is said once: the first process ends the others meanwhile.
        time.sleep(3)
    say(f"gentool: {message}")
    return MISTAKE
