"""The one table of operators. Each entry is a string until it is used: listing imports no torch.

A new operator is one module and a line here; another package adds its own through the hook
``gentool_operators``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from gentool import hooks
from gentool.errors import UserError, nearest, printable
from gentool.spec import OperatorInfo

if TYPE_CHECKING:
    from gentool.restore.operators.base import Operator

_HERE = "gentool.restore.operators"

_OPERATORS: list[OperatorInfo] = [
    OperatorInfo("grey", "colour is gone", f"{_HERE}.grey:make"),
    OperatorInfo("scale", "the image is smaller by a factor", f"{_HERE}.scale:make", "FACTOR"),
    OperatorInfo("missing", "pixels are missing", f"{_HERE}.missing:make", "MASK"),
    OperatorInfo("measure", "random projections", f"{_HERE}.measure:make", "NUMBER"),
]


def operators() -> list[OperatorInfo]:
    """Every operator that is installed."""
    hooks.collect("gentool_operators", register)
    return list(_OPERATORS)


def register(info: OperatorInfo) -> None:
    """Add an operator; the first of a name stays."""
    if info.name not in {known.name for known in _OPERATORS}:
        _OPERATORS.append(info)


def build(text: str, shape: tuple[int, ...], seed: int) -> Operator:
    """``NAME`` or ``NAME:ARGUMENT`` for examples of a shape; raises UserError.

    Args:
        seed: of whatever is random about the operator.
    """
    name, colon, argument = text.partition(":")
    info = _find(name)
    if bool(info.argument) != bool(colon and argument):
        form = f"{name}:{info.argument}" if info.argument else name
        raise UserError(f"the operator {printable(text, 60)!r} is written {form}")
    try:
        make: Callable[[str, tuple[int, ...], int], Operator] = resolve_name(info.function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"the operator's code {info.function} cannot be imported ({error}); reinstall the "
            "package it comes from"
        ) from error
    return make(argument, shape, seed)


def build_all(texts: Sequence[str], shape: Sequence[int], seed: int) -> Operator:
    """Operators that act one after the other, as one; without any, the identity."""
    from gentool.restore.operators.base import chained

    steps: list[Operator] = []
    now = tuple(shape)
    for text in texts:
        steps.append(build(text, now, seed))
        now = steps[-1].out_shape
    return chained(steps, shape)


def _find(name: str) -> OperatorInfo:
    def known() -> dict[str, OperatorInfo]:
        return {info.name: info for info in _OPERATORS}

    if name not in known():
        hooks.collect("gentool_operators", register, name, lambda: name in known())
    if name not in known():
        raise UserError(
            f"there is no operator {printable(name, 40)!r}{nearest(name, known())}; known are "
            f"{', '.join(known())}"
        )
    return known()[name]
