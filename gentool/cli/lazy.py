"""Groups that import a verb only when it is called, and help in sections."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from gentool.cli import completion


@dataclass(frozen=True)
class Verb:
    """One verb of a `LazyGroup`.

    Attributes:
        target: where its code is: ``module:function`` or ``module:app``.
        help: its line in the list.
        group: the heading that it is listed under.
    """

    target: str
    help: str
    group: str = "Use"

    def load(self, name: str) -> Any:
        """Import the verb and make its command."""
        found = resolve_name(self.target)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(name=name)(found)
            found = single
        for info in found.registered_commands:
            info.cls = PlainCommand
        command = typer.main.get_command(found)
        command.name = name
        return command


class QuickHelp:
    """A command whose `--help` is False where it was not typed.

    Typer's own is None, which has it import pydantic for the conversion to bool: 0.1 s.
    """

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None and option.default is None:
            option.default = False
        return option


class LazyGroup(QuickHelp, TyperGroup):
    """A group whose verbs are in a table; listing them imports none."""

    verbs: ClassVar[dict[str, Verb]]

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for option in params:  # of completion; as in `QuickHelp`
            if option.default is None and option.name in ("install_completion", "show_completion"):
                option.default = False
        return params

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.verbs)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs under the headings of their groups."""
        width = max(map(len, self.verbs))  # one column for all groups
        for group in dict.fromkeys(verb.group for verb in self.verbs.values()):
            with formatter.section(group):
                rows = [(n.ljust(width), v.help) for n, v in self.verbs.items() if v.group == group]
                formatter.write_dl(rows)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb's line in the list; `resolve_command` makes what runs."""
        verb = self.verbs.get(cmd_name)
        return None if verb is None else TyperCommand(cmd_name, help=verb.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        verb = self.verbs.get(args[0])
        if verb is None:  # Typer's own complaint, with the nearest name
            self.commands = {name: self.get_command(ctx, name) for name in self.verbs}
            return super().resolve_command(ctx, args)
        return args[0], verb.load(args[0]), args[1:]


class PlainCommand(QuickHelp, TyperCommand):
    """Help in plain text: arguments as they are typed, options by the panel they were given.

    To a shell that asks, its parameters say what their values can be.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if completion.is_asked():
            for parameter in self.params:
                completion.complete(parameter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [p for p in self.get_params(ctx) if isinstance(p, TyperArgument)]
        return ["[OPTIONS]", *filter(None, map(_argument_name, arguments))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            if isinstance(parameter, TyperArgument):
                name, panel = _argument_name(parameter), "Arguments"
            if name:
                sections.setdefault(panel, []).append(_fitted(name, text, formatter.width))
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _argument_name(argument: TyperArgument) -> str:
    """As it is typed; empty for one that another argument's name tells of."""
    return str(argument.metavar if argument.metavar is not None else (argument.name or "").upper())


TYPES = {"<str>": "TEXT", "<int>": "INT", "<float>": "FLOAT", "<path>": "PATH"}
TYPES |= {"<int range>": "INT", "<float range>": "FLOAT"}


def _fitted(name: str, text: str, width: int) -> tuple[str, str]:
    """An option's line: a type in one word, and choices too long for half a line in the text."""
    for word, plain in TYPES.items():
        name = name.replace(word, plain)
    flag, _, choices = name.partition(" ")
    if "|" in choices and len(name) > width // 2:
        return f"{flag} CHOICE", f"{choices.replace('|', ', ')}: {text}"
    return name, text
