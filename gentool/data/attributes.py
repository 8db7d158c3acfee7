"""From a column of numbers to an attribute: binary as 0 and 1, continuous ones standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gentool.spec import Attribute

MAX_ATTRIBUTES = 1_000


def standardised(
    names: Sequence[str], values: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], tuple[Attribute, ...]]:
    """The values of each split, float32 (N, K), as models get them, and what the columns are.

    A column that holds two values at most, 0 and 1 or −1 and 1, is binary: 0 or 1. Any other is
    continuous: (value − mean) / scale, by the training split's mean and standard deviation.

    Args:
        values: split -> finite float64 (N, K) in their own units; "train" is among them.
    """
    columns: dict[str, list[np.ndarray]] = {split: [] for split in values}
    known = []
    for k, name in enumerate(names):
        found = {split: array[:, k] for split, array in values.items()}
        attribute, signed = _describe(name, found)
        known.append(attribute)
        for split, column in found.items():
            if attribute.kind == "binary":
                columns[split].append(column > 0 if signed else column)
            else:
                columns[split].append((column - attribute.mean) / attribute.scale)
    return {
        split: np.stack(some, axis=1).astype(np.float32)
        if some
        else np.empty((len(values[split]), 0), np.float32)
        for split, some in columns.items()
    }, tuple(known)


def _describe(name: str, found: Mapping[str, np.ndarray]) -> tuple[Attribute, bool]:
    """The attribute, and whether it is a binary one that says −1 for no."""
    low, one, high = -1.0, 0.0, 1.0
    present = set()
    for column in found.values():
        present |= set(np.unique(column[:1000]))
        if len(present) <= 2 and present <= {low, one, high}:
            present |= set(np.unique(column))
    if present <= {one, high} or present <= {low, high}:
        return Attribute(name), low in present
    train = found["train"]
    spread = float(train.std())
    return Attribute(name, "continuous", float(train.mean()), spread if spread > 0 else 1.0), False


def in_units(values: np.ndarray, known: Sequence[Attribute]) -> np.ndarray:
    """Values (N, K) as models get them, in the attributes' own units: float32 (N, K)."""
    mean, scale = (np.array([getattr(one, name) for one in known]) for name in ("mean", "scale"))
    found: np.ndarray = (values * scale + mean).astype(np.float32)
    return found


def converted(
    values: np.ndarray, theirs: Sequence[Attribute], ours: Sequence[Attribute]
) -> np.ndarray | None:
    """Attributes (N, K) of other data in the order and the scale of `ours`; None where one lacks.

    Its binary attributes match by name; a continuous one may be binary there, as in a sample.
    """
    place = {one.name: (k, one) for k, one in enumerate(theirs)}
    columns = []
    for one in ours:
        k, other = place.get(one.name, (-1, one))
        if k < 0 or (one.kind == "binary" and other.kind != "binary"):
            return None
        column = values[:, k]
        if other != one:
            column = (column * other.scale + other.mean - one.mean) / one.scale
        columns.append(column)
    return np.stack(columns, axis=1).astype(np.float32) if columns else None
