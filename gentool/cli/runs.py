"""``gentool runs``: what was trained and what is being trained, seen and steered from anywhere."""

from __future__ import annotations

from typing import ClassVar

import typer

from gentool.cli.lazy import LazyGroup, Verb


class Runs(LazyGroup):
    """What can be done with runs: to look first, then to steer."""

    verbs: ClassVar[dict[str, Verb]] = {
        "list": Verb("gentool.cli.runs_list:list_runs", "List every run, from anywhere.", "Look"),
        "show": Verb("gentool.cli.runs_show:show", "Show one run.", "Look"),
        "diff": Verb("gentool.cli.runs_show:diff", "Compare the settings of two runs.", "Look"),
        "compare": Verb(
            "gentool.cli.runs_compare:compare", "Tables and curves with mean ± deviation.", "Look"
        ),
        "curves": Verb("gentool.cli.runs_compare:curves", "Draw several runs' curves.", "Look"),
        "logs": Verb("gentool.cli.runs_logs:logs", "Print how a run went, or goes.", "Look"),
        "stop": Verb("gentool.cli.runs_steer:stop", "Stop a training; it saves first.", "Steer"),
        "checkpoint": Verb(
            "gentool.cli.runs_steer:checkpoint", "Have a training save now.", "Steer"
        ),
        "prune": Verb("gentool.cli.runs_prune:prune", "Free finished runs' checkpoints.", "Steer"),
        "tag": Verb("gentool.cli.runs_steer:tag", "Give a run words to find it by.", "Steer"),
    }


app = typer.Typer(
    cls=Runs,
    add_completion=False,
    no_args_is_help=True,
    help="List runs, look at one, and steer what is being trained.",
)


@app.callback()
def _group() -> None:
    pass
