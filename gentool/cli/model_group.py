"""Verbs with one subcommand a model, made from its plugin when it is asked for."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gentool import options, plugins, quarantine
from gentool.cli.lazy import PlainCommand, QuickHelp
from gentool.cli.options import given, parameters, with_signature
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.recipefiles import with_model
from gentool.train.settings import TrainSettings, trainable


class ModelGroup(QuickHelp, TyperGroup):
    """Its subcommands are the installed models, listed with their summaries."""

    _bad: dict[str, str] | None = None

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
        return TyperCommand(cmd_name, help=self.summary_of(plugins.find(cmd_name)))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Whole summaries, wrapped; Typer would cut them to a line."""
        with formatter.section("Models"):
            names = self.list_commands(ctx)
            formatter.write_dl([(name, self.summary_of(plugins.find(name))) for name in names])

    def summary_of(self, plugin: plugins.Plugin) -> str:
        """A model's summary; of a package that does not load, which one it is."""
        if self._bad is None:
            self._bad = quarantine.problems(plugins.installed())
        with contextlib.suppress(UserError):
            if plugin.full_name not in self._bad:
                summary = trainable(plugin).summary
                return summary[:1].upper() + summary[1:].rstrip(".") + "."
        return f"From the package {plugin.distribution}, and does not load: `gentool models`."

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        return name, self.command_of(plugins.find(name)), rest

    def command_of(self, plugin: plugins.Plugin) -> Any:
        """The command of one model; see `single_command`."""
        raise NotImplementedError


def single_command(
    plugin: plugins.Plugin, run: Callable[..., Any], own_options: Iterable[inspect.Parameter]
) -> Any:
    """A command with the options of training a model, and some of the verb's own.

    Args:
        run: called with the options of training that were typed, by field name, and with the
            verb's own as keywords.
    """
    spec = trainable(plugin)
    own = options.fields_of(spec.config)
    data, core = options.fields_of(DataOptions), options.fields_of(TrainSettings)
    others = tuple(own_options)

    def command(**values: Any) -> None:
        mine = {p.name: values.pop(p.name) for p in others}
        run(given((*own, *data, *core), values), **mine)

    signature = [
        *parameters(own, f"Options of {plugin.name}", spec.defaults),
        *parameters(data, "Data", spec.defaults),
        *parameters(core, "Training", spec.defaults),
        *others,
    ]
    single = typer.Typer(add_completion=False)
    shown = with_signature(command, signature)
    single.command(name=plugin.name, cls=PlainCommand, help=_help(spec))(shown)
    return typer.main.get_command(single)


def _help(spec: Any) -> str:
    summary = spec.summary[:1].upper() + spec.summary[1:].rstrip(".") + "."
    return f"{summary}\n\n{spec.paper}." if spec.paper else summary
