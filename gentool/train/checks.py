"""Holding a checkpoint to what the training that goes on from it needs, before anything is done.

Optimizers walk weights and moments alike, without looking: a tensor of another length would be
read, and written, past its end. A checkpoint may come from somebody else, with a manifest that
fits. So every tensor is held to its shape and type, and every counter to its range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.train.means import FIXED
from gentool.train.player import PlayerState
from gentool.train.state import Checkpoint
from gentool.weights import check_tensors

MOST_STEPS = 10**15
MOST_STATE = 16
"""What an optimizer may keep of a parameter, in times its size; Adam's is 2."""

SLACK = 2**26
"""Bytes for headers, generators and counters."""

GENERATOR = re.compile(r"rng/(cpu|cuda)/[0-9]{1,6}")
PLAYER = re.compile(r"player([0-9]{1,4})/(totals|optimizer/([0-9]{1,9})/([A-Za-z_0-9]{1,80}))")

Like = Mapping[str, Tensor | Any]


def most_bytes(weights: Mapping[str, Tensor]) -> int:
    """How large a file of tensors of a checkpoint can be, of a model with these weights."""
    return SLACK + MOST_STATE * sum(8 * t.numel() for t in weights.values())


def check_checkpoint(
    checkpoint: Checkpoint,
    weights: Mapping[str, Tensor],
    averages: bool,
    players: Sequence[PlayerState],
) -> None:
    """Raise UserError unless the checkpoint fits this model, its players and their optimizers.

    Args:
        weights: the model's state_dict.
        averages: whether a moving average is kept.
    """
    where = f"the checkpoint {printable(str(checkpoint.path))}"
    try:
        groups = checkpoint.groups
        if not groups.keys() >= {"weights", "optim", *(["average"] if averages else [])}:
            raise ValueError("a file of it is missing")
        check_tensors(groups["weights"], weights, where)
        if averages:
            check_tensors(groups["average"], weights, where)
        _check_values(checkpoint.values, players)
        _check_optim(groups["optim"], checkpoint.values["players"], players)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{where} does not fit its run ({printable(reason, 160)}); use an earlier one, or "
            "train again"
        ) from error


def _check_values(values: Mapping[str, Any], players: Sequence[PlayerState]) -> None:
    """The counters, and what is no tensor."""
    _require_count(values["step"], "step", MOST_STEPS)
    _require_count(values["metrics_bytes"], "metrics_bytes", 2**53)
    if values["best"] is not None:
        _require_number(values["best"], "best")
    if type(values["is_best"]) is not bool:
        raise ValueError("is_best is neither true nor false")
    kept = values["players"]
    if not isinstance(kept, list) or len(kept) != len(players):
        raise ValueError(f"it is not of {len(players)} players")
    for state, own in zip(players, kept, strict=True):
        _require_count(own["count"], "count", MOST_STEPS)
        names = own["names"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError("the names of its scalars are no texts")
        if len(set(names)) < len(names):
            raise ValueError("a scalar has its name twice")
        _check_scaler(own["scaler"], state.scaler.state_dict())
        if not isinstance(own["optimizer"], dict):
            raise ValueError("its optimizer's values are no table")


def _check_scaler(kept: Any, fresh: Mapping[str, Any]) -> None:
    """A loss scaler's state: numbers above 0, whole where a new one's are."""
    if not isinstance(kept, dict) or kept.keys() != fresh.keys():
        raise ValueError("its loss scaler is another")
    for name, value in fresh.items():
        if isinstance(value, int):
            _require_count(kept[name], name, 2**31 - 1)
        else:
            _require_number(kept[name], name)
            if not 0 < kept[name] < 2.0**126:
                raise ValueError(f"{name} is {kept[name]}")


def _check_optim(
    tensors: Mapping[str, Tensor], values: Sequence[Mapping[str, Any]], players: Iterable[Any]
) -> None:
    """Generators, running sums, and what each optimizer keeps of each parameter."""
    by_player: dict[int, dict[int, dict[str, Any]]] = {i: {} for i, _ in enumerate(values)}
    totals: set[int] = set()
    entries = [(key, tensor) for key, tensor in tensors.items()]
    for i, own in enumerate(values):
        entries += [(f"player{i}/{key}", value) for key, value in own["optimizer"].items()]
    for key, value in entries:
        if GENERATOR.fullmatch(key):
            _check_generator(key, value)
            continue
        match = PLAYER.fullmatch(key)
        if match is None or int(match[1]) not in by_player:
            raise ValueError(f"{key!r} is nothing that it should hold")
        player = int(match[1])
        if match[2] == "totals":
            _check_totals(value, len(values[player]["names"]))
            totals.add(player)
            continue
        kept = by_player[player].setdefault(int(match[3]), {})
        if kept.setdefault(match[4], value) is not value:
            raise ValueError(f"{key!r} is there twice")
    if totals != by_player.keys():
        raise ValueError("the sums of a player are missing")
    for i, state in enumerate(players):
        expected: dict[tuple[Any, ...], Like] = {}
        for index, kept in by_player[i].items():
            if index >= len(state.parameters):
                raise ValueError(f"player {i} has no parameter {index}")
            parameter = state.parameters[index]
            kind = (parameter.shape, parameter.dtype, parameter.stride())
            if kind not in expected:
                expected[kind] = state.optimizer_entries(parameter)
            _check_entries(kept, expected[kind], f"player{i}/optimizer/{index}")


def _check_entries(kept: Mapping[str, Any], expected: Like, where: str) -> None:
    """What an optimizer keeps of one parameter, against what one of its steps leaves."""
    if kept.keys() != expected.keys():
        _refuse(f"{where} holds {', '.join(sorted(kept))}, not {', '.join(sorted(expected))}")
    for name, like in expected.items():
        value, shown = kept[name], f"{where}/{name}"
        if not isinstance(like, Tensor):
            if type(value) is not type(like):
                _refuse(f"{shown} is of another kind")
            if isinstance(like, int | float) and not isinstance(like, bool):
                _require_number(value, shown)
            continue
        if not isinstance(value, Tensor) or value.shape != like.shape or value.dtype != like.dtype:
            _refuse(f"{shown} is not {like.dtype} of shape {tuple(like.shape)}")
        if name == "step" and not 0 <= float(value) <= MOST_STEPS:
            _refuse(f"{shown} is {float(value)}")


def _check_totals(value: Any, scalars: int) -> None:
    wide = (torch.float64, torch.float32)
    if not isinstance(value, Tensor) or value.dtype not in wide:
        raise ValueError("its sums are no numbers")
    if value.shape != (scalars + FIXED,):
        raise ValueError(f"it has {value.numel()} sums of {scalars} scalars")
    *_, norms, examples = value.tolist()
    if not (0 <= norms <= MOST_STEPS and 0 <= examples <= 2**53):
        raise ValueError("it counts less than nothing, or more than there can be")


def _check_generator(key: str, value: Any) -> None:
    """torch checks what a state holds; its size and type are ours to check."""
    if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.dim() != 1:
        raise ValueError(f"{key!r} is no generator's state")
    if key.startswith("rng/cpu/"):
        if value.shape != torch.get_rng_state().shape:
            raise ValueError(f"{key!r} is no generator's state")
        try:
            torch.Generator().set_state(value)
        except RuntimeError as error:
            raise ValueError(f"{key!r} is no generator's state") from error
    elif len(value) != 16:
        raise ValueError(f"{key!r} is no generator's state")


def _require_count(value: Any, name: str, most: int) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} is no count")


def _require_number(value: Any, name: str) -> None:
    if type(value) not in (int, float) or abs(value) >= 2**1000 or not math.isfinite(value):
        raise ValueError(f"{name} is no number")


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
