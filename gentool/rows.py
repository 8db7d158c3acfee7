"""A row of metrics.jsonl, whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

LONGEST_NAME = 200
"""Letters of a scalar's name."""


def row_of(line: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl, held to what gentool writes there; None where it is no row."""
    try:
        row = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not _is_count(row.get("step")):
        return None
    kept = {k: v for k, v in row.items() if _is_scalar(v) and len(k) <= LONGEST_NAME}
    kept["epoch"] = row["epoch"] if _is_count(row.get("epoch")) else 0
    return kept


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_scalar(value: Any) -> bool:
    """Text, nothing, or a number that a float can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**1000
    return value is None or isinstance(value, str | float | bool)
