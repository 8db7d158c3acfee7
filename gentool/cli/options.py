"""Config fields as Typer options, so that a plugin's dataclass becomes its `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from gentool.options import Field, fields_of, parse


def help_of(field: Field, default: Any) -> str:
    """The option's line in ``--help``: what it is, its bounds, its default."""
    facts = [field.range] if field.range else []
    if default is not None:
        facts.append(f"default {field.show(default)}")
    return f"{field.option.help} ({'; '.join(facts)})" if facts else field.option.help


def parameters(
    fields: Iterable[Field], panel: str, defaults: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """Fields as keyword parameters that Typer understands; None means not given.

    Values arrive as text: `gentool.options.parse` reads them, so that the command line, TOML
    files and checkpoints are checked by the same code and complain in the same words.
    """
    result = []
    for field in fields:
        flag = f"{field.flag}/--no-{field.flag[2:]}" if field.base is bool else field.flag
        option = typer.Option(
            flag,
            help=help_of(field, defaults.get(field.name, field.default)),
            metavar=field.metavar or None,
            show_default=False,
            rich_help_panel=panel,
        )
        kind = bool if field.base is bool else str
        result.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    return result


def with_signature(
    function: Callable[..., Any], parameters: list[inspect.Parameter]
) -> Callable[..., Any]:
    """A function that Typer sees as having `parameters`, passed on as keywords."""

    def command(**values: Any) -> Any:
        return function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def with_options(config: type, panel: str = "Options") -> Callable[..., Any]:
    """A decorator: the ``**values`` of a verb become the options of a config dataclass.

    Values arrive as `given` takes them. The verb's other parameters stay what they are.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function, eval_str=True).parameters.values()
        fixed = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
        command = with_signature(function, [*fixed, *parameters(fields_of(config), panel, {})])
        command.__doc__ = function.__doc__
        return command

    return decorate


def given(fields: Iterable[Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed, parsed and checked."""
    return {
        f.name: value if isinstance(value, bool) else parse(f, value)
        for f in fields
        if (value := values.get(f.name)) is not None
    }
