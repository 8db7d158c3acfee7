"""Groups that import a verb only when it is called, and help in sections."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Verb:
    """Where a verb's code is: ``module:function`` or ``module:app``, and its line of help."""

    target: str
    help: str

    def load(self, name: str) -> Any:
        """Import the verb and make its command."""
        found = resolve_name(self.target)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(name=name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = name
        return command


class LazyGroup(TyperGroup):
    """A group whose verbs are in a table; listing them imports none."""

    verbs: ClassVar[dict[str, Verb]]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.verbs)

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


class SectionedCommand(TyperCommand):
    """Shows its options by the panel they were given, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[Any]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(panel, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
