"""Config fields as Typer options, so that a plugin's dataclass becomes its `--help`."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool.errors import UserError, nearest, printable
from gentool.options import Field, check, fields_of, parse


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


def read_toml(path: Path, fields: Iterable[Field], model: str) -> dict[str, Any]:
    """Options from a TOML file: flat keys named as the options, and optionally ``model``.

    A table ``[recipe]`` may say where the setting comes from; it is not read here.
    """
    shown = printable(str(path))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {shown} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"--config {shown} is not TOML: {printable(str(error))}") from error
    content.pop("recipe", None)
    wanted = content.pop("model", model)
    if wanted != model:
        raise UserError(f"{shown} is for the model {printable(str(wanted))!r}, not {model!r}")
    known = {f.name: f for f in fields} | {f.flag[2:]: f for f in fields}
    result = {}
    for key, value in content.items():
        if key not in known:
            raise UserError(
                f"{shown} has an unknown option {printable(key)!r}{nearest(key, known)}"
            )
        field = known[key]
        result[field.name] = check(field, value)
    return result
