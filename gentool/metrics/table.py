"""Records as a table for people. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ARROWS = {"lower": "lower", "higher": "higher", "near": "near"}


def headers(records: Sequence[dict[str, Any]]) -> list[str]:
    return ["", *(record["model"]["run"] for record in records), "real vs real", "better"]


def rows(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row a number: what each run has, what real against real has, which way is better."""
    names = dict.fromkeys(name for record in records for name in record["values"])
    return [_row(name, [record["values"].get(name) for record in records]) for name in names]


def _row(name: str, entries: Sequence[dict[str, Any] | None]) -> list[str]:
    some = next(entry for entry in entries if entry is not None)
    cells = ["–" if entry is None else number(entry) for entry in entries]
    floor = number(some["floor"]) if "floor" in some else ""
    return [name, *cells, floor, _better(some)]


def _better(entry: dict[str, Any]) -> str:
    if "better" not in entry:
        return ""
    if entry["better"] != "near":
        return ARROWS[entry["better"]]
    if entry["ideal"] is not None:
        return f"near {entry['ideal']:g}"
    return "near real" if "floor" in entry else ""


def number(entry: dict[str, Any]) -> str:
    """``105.1``, or ``105.1 ± 0.2`` where there are several seeds."""
    if entry["mean"] is None:
        return "not finite"
    text = f"{entry['mean']:.4g}" if abs(entry["mean"]) < 1e4 else f"{entry['mean']:.0f}"
    if entry["spread"] is None:
        return text
    return f"{text} ± {entry['spread']:.2g}"


def caption(record: dict[str, Any]) -> str:
    """What the numbers were taken with, in one line."""
    settings, features = record["settings"], record["features"]
    parts = [str(record["data"]["name"])]
    if any("floor" in entry for entry in record["values"].values()):
        parts.append(f"n = {settings['n']} a side")
    if features is not None:
        label = features["name"] + (f" {features['hash']}" if features["hash"] else "")
        if "accuracy" in features:
            label += f" (accuracy {features['accuracy']:.1%})"
        parts.append(f"features: {label}")
    elif record["classifier"] is not None:
        labeller = record["classifier"]
        parts.append(f"classifier {labeller['hash']} (accuracy {labeller['accuracy']:.1%})")
    if "nll" in settings["metrics"]:
        parts.append(f"nll: k = {settings['k']}, {settings['nll_n']} test examples")
    parts.append(
        f"seed {settings['seed']}" + f", {settings['seeds']} in all" * (settings["seeds"] > 1)
    )
    return "; ".join(parts)
