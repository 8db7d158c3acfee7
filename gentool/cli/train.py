"""``gentool train MODEL``: one subcommand a model, made from its plugin when it is asked for."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gentool import api, options, plugins
from gentool.cli.done import say_done
from gentool.cli.lazy import PlainCommand
from gentool.cli.options import given, parameters, with_signature
from gentool.data.options import DataOptions
from gentool.recipefiles import with_model
from gentool.train.settings import TrainSettings, trainable

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
)


class ModelGroup(TyperGroup):
    """Its subcommands are the installed models; listing them imports no plugin."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_model(args))

    def list_commands(self, ctx: Any) -> list[str]:
        names = []
        for name, candidates in plugins.by_short_name().items():
            clear = len(candidates) == 1 or candidates[0].distribution == plugins.OWN
            names += [name] if clear else [p.full_name for p in candidates]
        return names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The model's line in the list; `resolve_command` makes what runs."""
        return TyperCommand(
            cmd_name, help=f"from the package {plugins.find(cmd_name).distribution}"
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        return name, model_command(plugins.find(name)), rest


app = typer.Typer(
    cls=ModelGroup,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="MODEL [OPTIONS]",
    help="Train a model; `gentool train MODEL --help` shows its options. A recipe names its model: "
    "gentool train --config RECIPE.",
)


@app.callback()
def _group() -> None:
    pass


def model_command(plugin: plugins.Plugin) -> Any:
    """The command that trains one model, with the core's options and the plugin's own."""
    spec = trainable(plugin)
    own = options.fields_of(spec.config)
    data, core = options.fields_of(DataOptions), options.fields_of(TrainSettings)

    def run(out: Path | None, config_file: Path | None, **values: Any) -> None:
        chosen = given((*own, *data, *core), values)
        say_done(api.train(plugin.full_name, out=out, config=config_file, **chosen))

    signature = [
        *parameters(own, f"Options of {plugin.name}", spec.defaults),
        *parameters(data, "Data", spec.defaults),
        *parameters(core, "Training", spec.defaults),
        *OWN_OPTIONS,
    ]
    single = typer.Typer(add_completion=False)
    command = with_signature(run, signature)
    single.command(name=plugin.name, cls=PlainCommand, help=_help(spec))(command)
    return typer.main.get_command(single)


def _help(spec: Any) -> str:
    summary = spec.summary[:1].upper() + spec.summary[1:] + "."
    return f"{summary}\n\n{spec.paper}." if spec.paper else summary
