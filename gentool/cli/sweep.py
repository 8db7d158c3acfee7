"""``gentool sweep MODEL``: every combination of some options, one run each, in one folder."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import plugins
from gentool.cli.model_group import ModelGroup, single_command
from gentool.console import say, tell
from gentool.errors import UserError, printable
from gentool.files import is_dir

_OVER = typer.Option(
    "--over", metavar="NAME=A,B,…", help="An option and its values; several are combined."
)
_SEEDS = typer.Option("--seeds", metavar="0-2", help="Each combination with these seeds.")
_JOBS = typer.Option("--jobs", min=1, help="Runs at a time, each in a process of its own.")
_RETRY = typer.Option("--retry-failed", help="Try again what failed when this sweep was run.")
_OUT = typer.Option("--out", help="The sweep's folder (default runs/MODEL-DATA-sweep-NNN).")
_CONFIG = typer.Option("--config", help="A recipe, or a TOML file; the command line wins.")

OWN_OPTIONS = tuple(
    inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
    for name, kind, default, option in (
        ("over", list[str] | None, None, _OVER),
        ("seeds", str | None, None, _SEEDS),
        ("jobs", int, 1, _JOBS),
        ("retry_failed", bool, False, _RETRY),
        ("out", Path | None, None, _OUT),
        ("config_file", Path | None, None, _CONFIG),
    )
)


class SweepGroup(ModelGroup):
    """The installed models, each with the options of a sweep beside its own."""

    def command_of(self, plugin: plugins.Plugin) -> Any:
        def run(chosen: dict[str, Any], **own: Any) -> None:
            sweep(plugin.full_name, chosen, **own)

        return single_command(plugin, run, OWN_OPTIONS)


app = typer.Typer(
    cls=SweepGroup,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="MODEL [OPTIONS]",
    help="Train a model with every combination of some options; give the same --out, or `gentool "
    "resume FOLDER`, to go on with one that stopped.",
)


@app.callback()
def _group() -> None:
    pass


def sweep(
    model: str,
    chosen: dict[str, Any],
    *,
    over: list[str] | None = None,
    seeds: str | None = None,
    jobs: int = 1,
    retry_failed: bool = False,
    out: Path | None = None,
    config_file: Path | None = None,
) -> None:
    """Plan a sweep, or take up the one that lies in `out`, and train what it lacks."""
    from gentool.sweep import plan

    varied = plan.read_over(over or [], plan.fields_for(model))
    if seeds is not None:
        if "seed" in varied:
            raise UserError("--seeds and --over seed=… are the same; give one of them")
        varied["seed"] = plan.read_seeds(seeds)
    if not varied:
        raise UserError("a sweep needs what varies, such as --over lr=1e-4,2e-4 or --seeds 0-2")
    planned = plan.planned(model, chosen, config_file, varied)
    folder = plan.make_folder(planned, out, "sweep" if over else "seeds")
    say(f"{len(planned.cells())} runs in {printable(str(folder))}")
    go_on(folder, jobs, chosen.get("cache"), chosen.get("max_time"), retry_failed)


def go_on(
    folder: Path, jobs: int, cache: str | None, max_time: str | None, retry: bool = False
) -> None:
    """Train what a sweep lacks; the folder's path on stdout, exit code 1 where runs failed."""
    from gentool.sweep.work import work

    outcome = work(folder, jobs=jobs, cache=cache, max_time=max_time, retry=retry)
    for name, error in outcome.failed.items():
        say(f"failed: {name}: {error} (what there is of it lies in {folder}/failed)")
    if outcome.open:
        say(f"{len(outcome.open)} runs are not finished; go on with: gentool resume {folder}")
    say(f"{len(outcome.finished)} runs finished; compare with: gentool runs compare {folder}")
    tell(str(folder))
    if outcome.failed or outcome.open:
        raise typer.Exit(1)


def is_sweep(name: str | None) -> Path | None:
    """The folder of a sweep that RUN names, by its path or its name below ./runs."""
    from gentool import runs
    from gentool.sweep import plan

    for path in () if name is None else (Path(name), runs.ROOT / name):
        if is_dir(path) and plan.is_sweep(path):
            return path
    return None
