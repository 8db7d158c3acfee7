"""Attributes beside the examples of an ``.npz``: numbers (N, K), a column each.

``attributes`` (or ``attributes_train`` and ``attributes_test``) holds them, ``attribute_names`` the
K names; see `gentool.data.attributes` for what becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from gentool.data.attributes import MAX_ATTRIBUTES, standardised
from gentool.data.order import fixed_order
from gentool.data.sources.npyfile import ArrayFile
from gentool.errors import UserError, printable
from gentool.spec import Attribute

NAMES = "attribute_names"


class Counted(Protocol):
    """What is read for one split: `n` examples."""

    n: int


def read_attributes(
    found: Mapping[str, ArrayFile], splits: Mapping[str, Counted], shuffled: bool
) -> tuple[dict[str, np.ndarray], tuple[Attribute, ...]]:
    """The attributes of each split, float32 (N, K), and what the columns are; empty for none.

    Args:
        splits: what has been read beside them, by "train" and "test".
        shuffled: whether the examples were stored in the fixed shuffle.

    Raises:
        UserError: where they do not fit the examples, or are no finite numbers.
    """
    files = {
        split: found.get(f"attributes_{split}", found.get("attributes") if shuffled else None)
        for split in splits
    }
    chosen = {split: file for split, file in files.items() if file is not None}
    if not chosen:
        return {}, ()
    if len(chosen) < len(splits):
        raise UserError(
            f"{next(iter(chosen.values())).shown} has attributes for one split alone; save "
            "attributes_train and attributes_test"
        )
    values = {}
    for split, file in chosen.items():
        columns = _columns(file, splits[split].n)
        values[split] = columns[fixed_order(splits[split].n)] if shuffled else columns
    width = values["train"].shape[1]
    if any(array.shape[1] != width for array in values.values()):
        raise UserError(f"{chosen['train'].shown}: training and test differ in their attributes")
    names = _names(found.get(NAMES), width)
    return standardised(names, values)


def _columns(file: ArrayFile, n: int) -> np.ndarray:
    if file.dtype.kind not in "fiub" or len(file.shape) not in (1, 2) or file.shape[0] != n:
        raise UserError(
            f"{file.shown} holds {file.dtype} of shape {file.shape}; attributes are numbers of "
            f"shape ({n}, K), a row for each example"
        )
    if len(file.shape) == 2 and not 1 <= file.shape[1] <= MAX_ATTRIBUTES:
        raise UserError(f"{file.shown} has {file.shape[1]} columns, not 1 to {MAX_ATTRIBUTES}")
    rows = np.concatenate(list(file.chunks())).astype(np.float64).reshape(n, -1)
    if not np.isfinite(rows).all():
        bad = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise UserError(f"{file.shown}: the attributes of example {bad} are not finite numbers")
    return rows


def _names(file: ArrayFile | None, width: int) -> list[str]:
    """The columns' names, or attribute0, attribute1, …"""
    if file is None:
        return [f"attribute{k}" for k in range(width)]
    if file.dtype.kind != "U" or file.shape != (width,):
        raise UserError(
            f"{file.shown} holds {file.dtype} of shape {file.shape}; it must be the {width} names "
            "of the attributes"
        )
    names = [printable(str(name), 100) for name in np.concatenate(list(file.chunks()))]
    if len(set(names)) < width or not all(names):
        raise UserError(f"{file.shown} has an empty name, or one that is there twice")
    return names
