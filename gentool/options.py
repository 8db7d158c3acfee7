"""Config dataclasses as options: one description, read by the command line, TOML and JSON.

A field such as ``latent_dim: Annotated[int, Option("size of z", min=1)] = 20`` is parsed from
``--latent-dim 20``, read from a TOML file or a checkpoint's header, checked against its bounds
and shown by ``--help``, all from that one line. Supported types: int, float, bool, str,
Literal[…], tuple[int | float | str, ...], a number ``| Literal[…]``, and each of them ``| None``.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from gentool.errors import UserError, nearest, printable
from gentool.files import read_named
from gentool.spec import Option

LARGEST_TOML = 2**20
"""Bytes of a file of options."""


class SpecError(Exception):
    """A plugin's config or spec is not what the contract asks for; its author can mend it."""


@dataclass(frozen=True)
class Field:
    """One option of a config dataclass.

    Attributes:
        base: int, float, bool or str: what the value, or each element of a tuple, is.
        many: the value is a tuple, written ``a,b,c``.
        choices: the allowed values of a Literal; empty for any. Of a number, the words that may
            stand instead of it.
        optional: None is allowed, and is what not giving the option means.
    """

    name: str
    base: type
    many: bool
    choices: tuple[str, ...]
    optional: bool
    option: Option
    default: Any

    @property
    def flag(self) -> str:
        return "--" + (self.option.flag or self.name.replace("_", "-"))

    @property
    def metavar(self) -> str:
        if self.choices and self.base is str:
            return "|".join(self.choices)
        word = {int: "INT", float: "FLOAT", str: "TEXT", bool: ""}[self.base]
        word = "|".join((word, *self.choices))
        return f"{word},…" if self.many else word

    @property
    def range(self) -> str:
        """The bounds in words, e.g. ``at least 1``; empty without bounds."""
        o = self.option
        parts = [
            f"at least {_bound(o.min)}" if o.min is not None else "",
            f"more than {_bound(o.above)}" if o.above is not None else "",
            f"at most {_bound(o.max)}" if o.max is not None else "",
            f"less than {_bound(o.below)}" if o.below is not None else "",
        ]
        return " and ".join(p for p in parts if p)

    def show(self, value: Any) -> str:
        """A value as the user would type it."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if self.many:
            return ",".join(self.show_one(v) for v in value)
        return self.show_one(value)

    @staticmethod
    def show_one(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)


def _bound(value: float) -> str:
    """A bound as people read it: 1e+06 as 1,000,000, and 2⁶³ − 1 as what it is."""
    if value != int(value) or abs(value) < 10_000:
        return f"{value:g}"
    bits = (int(value) + 1).bit_length() - 1
    return f"2^{bits} - 1" if bits > 30 and int(value) + 1 == 2**bits else f"{int(value):,}"


@lru_cache(maxsize=64)
def fields_of(config: type) -> tuple[Field, ...]:
    """The options of a config dataclass, in order; raises SpecError naming a field that is off."""
    if not dataclasses.is_dataclass(config):
        raise SpecError(f"the config {config!r} is not a dataclass")
    try:
        hints = typing.get_type_hints(config, include_extras=True)
    except Exception as error:
        raise SpecError(f"the annotations of {config.__name__} cannot be read: {error}") from error
    return tuple(_field(config, f, hints[f.name]) for f in dataclasses.fields(config) if f.init)


def _field(config: type, field: dataclasses.Field[Any], hint: Any) -> Field:
    where = f"{config.__name__}.{field.name}"
    if field.default is dataclasses.MISSING:
        raise SpecError(f"{where} has no default (or a default_factory); give it a plain default")
    option = Option(help="")
    if get_origin(hint) is typing.Annotated:
        hint, *extras = get_args(hint)
        option = next((e for e in extras if isinstance(e, Option)), option)
    optional = False
    choices: tuple[str, ...] = ()
    if get_origin(hint) in (Union, types.UnionType):
        rest = [a for a in get_args(hint) if a is not type(None)]
        optional = len(rest) < len(get_args(hint))
        words = [a for a in rest if get_origin(a) is Literal]
        numbers = [a for a in rest if a in (int, float)]
        if len(rest) == 2 and words and numbers:
            choices, rest = get_args(words[0]), numbers
        if len(rest) != 1:
            raise SpecError(f"{where} has the unsupported type {hint}")
        hint = rest[0]
    many = get_origin(hint) is tuple
    if many:
        arguments = get_args(hint)
        if len(arguments) != 2 or arguments[1] is not Ellipsis:
            raise SpecError(f"{where} has the unsupported type {hint}; use tuple[int, ...]")
        hint = arguments[0]
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if not all(isinstance(c, str) for c in choices):
        raise SpecError(f"{where}: the choices of a Literal must be strings")
    if hint not in (int, float, bool, str) or (many and hint is bool):
        raise SpecError(f"{where} has the unsupported type {hint}")
    return Field(field.name, hint, many, choices, optional, option, field.default)


def parse(field: Field, text: str) -> Any:
    """Read an option's value as typed on the command line; raises UserError."""
    if field.optional and text.lower() == "none":
        return None
    if field.many:
        parts = [p.strip() for p in text.split(",") if p.strip()]
        return check(field, tuple(_parse_one(field, p) for p in parts))
    return check(field, _parse_one(field, text))


def _parse_one(field: Field, text: str) -> Any:
    if field.base is str or text in field.choices:
        return text
    if field.base is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() in words:
            return words[text.lower()]
        raise UserError(f"{field.flag} is {printable(text)!r}, but it takes yes or no")
    try:
        return field.base(text)
    except ValueError:
        # 1e5 is how people write step counts.
        if field.base is int:
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if math.isfinite(number) and number == int(number):
                return int(number)
        raise UserError(
            f"{field.flag} is {printable(text)!r}, but it takes {_kind(field)}"
        ) from None


def _kind(field: Field) -> str:
    """What a value of the field is, in words."""
    kinds = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return " or ".join((kinds[field.base], *(() if field.base is str else field.choices)))


def check(field: Field, value: Any) -> Any:
    """Hold a value, from whatever source, to the field's type and bounds; raises UserError.

    Returns:
        the value in its normal form: lists as tuples, ints as floats where a float is asked for,
        numpy's numbers as Python's, paths as text.
    """
    if value is None:
        if field.optional:
            return None
        raise UserError(f"{field.flag} needs a value")
    if field.many:
        if not isinstance(value, list | tuple):
            value = (value,)
        if not value:
            raise UserError(f"{field.flag} needs at least one value, such as {field.flag} 64,64")
        return tuple(_check_one(field, v) for v in value)
    return _check_one(field, value)


def _plain(value: Any) -> Any:
    """Numbers of numpy and paths, which scripts hand over, as what a file would hold."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return (
        float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value
    )


def _check_one(field: Field, value: Any) -> Any:
    value = _plain(value)
    if field.base is not str and isinstance(value, str) and value in field.choices:
        return value
    if isinstance(value, int) and abs(value) >= 2**63:
        digits = int(value.bit_length() * 0.30103) + 1  # not by str(), which has a limit
        raise UserError(f"{field.flag} is a number of {digits} digits; choose less")
    if field.base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not field.base:  # not isinstance: True is no whole number
        raise UserError(f"{field.flag} is {printable(repr(value))}, but it takes {_kind(field)}")
    if field.base is str and field.choices and value not in field.choices:
        raise UserError(
            f"{field.flag} is {printable(str(value))!r}, but it takes one of "
            f"{', '.join(field.choices)}{nearest(str(value), field.choices)}"
        )
    if isinstance(value, int | float):
        _check_bounds(field, value)
    return value


def _check_bounds(field: Field, value: float) -> None:
    o = field.option
    if (
        (o.min is not None and not value >= o.min)
        or (o.max is not None and not value <= o.max)
        or (o.above is not None and not value > o.above)
        or (o.below is not None and not value < o.below)
    ):
        raise UserError(f"{field.flag} is {value}, but it must be {field.range}")
    if not math.isfinite(value):
        raise UserError(f"{field.flag} is {value}, but it must be finite")


def build(config: type, values: Mapping[str, Any], source: str = "") -> Any:
    """Make a config from field values; unknown names and bad values raise UserError.

    Args:
        values: by field name; a field left out keeps its default.
        source: where the values came from, for the message, e.g. ``in recipe.toml``.
    """
    fields = {f.name: f for f in fields_of(config)}
    for name in values:
        if name not in fields:
            where = f" {source}" if source else ""
            raise UserError(f"unknown option {printable(name)!r}{where}{nearest(name, fields)}")
    try:
        return config(**{name: check(fields[name], value) for name, value in values.items()})
    except ValueError as error:
        # A config's own __post_init__ says what does not fit together.
        raise UserError(str(error)) from error


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values; `build` is the inverse."""
    kind: type = type(config)
    values = {f.name: getattr(config, f.name) for f in fields_of(kind)}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def read_toml(path: Path, fields: Iterable[Field], model: str) -> dict[str, Any]:
    """Options from a TOML file: flat keys named as the options, and optionally ``model``.

    A table ``[recipe]`` may say where the setting comes from; it is not read here.
    """
    shown = printable(str(path))
    try:
        content = tomllib.loads(read_named(path, LARGEST_TOML))
    except OSError as error:
        raise UserError(f"--config {shown} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
        raise UserError(f"--config {shown} is not TOML: {printable(str(error))}") from error
    content.pop("recipe", None)
    wanted = content.pop("model", model)
    if str(wanted).rpartition(":")[2] != model:  # or DISTRIBUTION:NAME
        raise UserError(f"{shown} is for the model {printable(str(wanted))!r}, not {model!r}")
    known = {f.name: f for f in fields} | {f.flag[2:]: f for f in fields}
    result = {}
    for key, value in content.items():
        if key not in known:
            raise UserError(
                f"{shown} has an unknown option {printable(key)!r}{nearest(key, known)}"
            )
        field = known[key]
        nothing = value == "none" and field.optional  # as on the command line; TOML has no null
        result[field.name] = None if nothing else check(field, value)
    return result


def without_effect(config: Any, *facts: Any) -> list[str]:
    """What was asked for and changes nothing, a sentence each.

    A config knows of its own options: where it has a method ``without_effect(*facts)``, that
    returns for each field without effect the reason, such as ``{"clip": "with --lipschitz gp"}``.
    Only fields that differ from their default were asked for.

    Args:
        facts: what the method is given beside the config: of a model, the `DataSpec`.
    """
    kind: type = type(config)
    explain = getattr(config, "without_effect", None)
    reasons: Mapping[str, str] = explain(*facts) if explain is not None else {}
    return [
        f"{field.flag} {field.show(getattr(config, field.name))} has no effect "
        f"{printable(reasons[field.name])}"
        for field in fields_of(kind)
        if field.name in reasons and getattr(config, field.name) != field.default
    ]
