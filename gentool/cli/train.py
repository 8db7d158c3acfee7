"""``gentool train MODEL``: one subcommand a model, made from its plugin when it is asked for."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import api, plugins
from gentool.cli.done import say_done
from gentool.cli.model_group import ModelGroup, single_command

OWN_OPTIONS = (
    inspect.Parameter(
        "out",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option("--out", help="The run's directory (default runs/MODEL-DATA-NNN)."),
        ],
    ),
    inspect.Parameter(
        "config_file",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option("--config", help="A recipe, or a TOML file; the command line wins."),
        ],
    ),
    inspect.Parameter(
        "dry_run",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--dry-run", help="Only say what would be trained, and how long.")
        ],
    ),
    inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print a --dry-run as JSON.")],
    ),
    inspect.Parameter(
        "seeds",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option("--seeds", metavar="0-2", help="A run each, in one folder: 0-2, or 0,3."),
        ],
    ),
)


class TrainGroup(ModelGroup):
    """The installed models."""

    def command_of(self, plugin: plugins.Plugin) -> Any:
        def run(
            chosen: dict[str, Any],
            out: Path | None,
            config_file: Path | None,
            seeds: str | None,
            dry_run: bool,
            json: bool,
        ) -> None:
            if dry_run:
                from gentool.cli.dryrun import show_dry_run

                show_dry_run(plugin.full_name, config_file, chosen, json)
                return
            if seeds is None:
                say_done(api.train(plugin.full_name, out=out, config=config_file, **chosen))
                return
            from gentool.cli.sweep import sweep

            sweep(plugin.full_name, chosen, seeds=seeds, out=out, config_file=config_file)

        return single_command(plugin, run, OWN_OPTIONS)


app = typer.Typer(
    cls=TrainGroup,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="MODEL [OPTIONS]",
    help="Train a model; `gentool train MODEL --help` shows its options. A recipe names its model: "
    "gentool train --config RECIPE.",
)


@app.callback()
def _group() -> None:
    pass
