"""What `gentool data inspect` says about a source, before anybody trains on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gentool.console import Progress
from gentool.data.dataset import Dataset, Split
from gentool.data.loading import load
from gentool.data.options import DataOptions
from gentool.data.sources.images import MixedSizesError

PREVIEW_SIZE = "64"
"""What images of mixed sizes are shown at, as long as --size is missing."""

_CHUNK = 1024
_SHOWN = 64
_SHOWN_CLASSES = 16


def inspect(options: DataOptions, progress: Progress) -> tuple[Dataset, dict[str, Any]]:
    """Load a source, whatever is wrong with single files, and describe it.

    Returns:
        the data set, and a JSON object: "data", "name", "kind", "shape", "classes", "attributes"
        ({name: {"kind", "mean", "std"}}), "splits" ({split: {"count", "per_class"}}), "values"
        (min, max, mean, std), "sizes", "modes", "broken" ({"count", "files"}), "ignored", "notes",
        "needs_size", "fingerprint".
    """
    options = replace(options, on_bad_file="skip")
    needs_size = False
    try:
        data = load(options, progress)
    except MixedSizesError:
        needs_size = True
        data = load(replace(options, size=PREVIEW_SIZE), progress)
    report = data.report
    return data, {
        "data": options.data,
        "name": data.name,
        "kind": data.spec.kind,
        "shape": list(data.spec.shape),
        "classes": list(data.spec.classes),
        "attributes": _attributes(data),
        "splits": {
            name: {"count": len(split), "per_class": _per_class(split, len(data.spec.classes))}
            for name, split in (("train", data.train), ("test", data.test))
        },
        "values": statistics(data.train.x),
        "sizes": report.sizes,
        "modes": report.modes,
        "broken": {
            "count": report.broken_count,
            "files": [{"name": bad.name, "reason": bad.reason} for bad in report.broken],
        },
        "ignored": report.ignored,
        "notes": list(report.notes),
        "needs_size": needs_size,
        "fingerprint": data.fingerprint,
    }


def statistics(x: np.ndarray) -> dict[str, float]:
    """Minimum, maximum, mean and standard deviation of all values; exact for uint8."""
    if x.dtype == np.uint8:
        counts = np.zeros(256, np.int64)
        for start in range(0, len(x), _CHUNK):
            counts += np.bincount(x[start : start + _CHUNK].reshape(-1), minlength=256)
        levels = np.arange(256, dtype=np.float64)
        present, total = np.flatnonzero(counts), counts.sum()
        mean = float((levels * counts).sum() / total)
        variance = float((counts * (levels - mean) ** 2).sum() / total)
        low, high = int(present[0]), int(present[-1])
        return {"min": low, "max": high, "mean": mean, "std": variance**0.5}
    wide = x.astype(np.float64)
    return {
        "min": float(wide.min()),
        "max": float(wide.max()),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
    }


def save_picture(data: Dataset, path: Path) -> None:
    """A grid of training images, a row for each class where there are few, or else for each
    binary attribute; or a scatter plot."""
    if data.spec.kind == "points":
        from gentool.render.scatter import save_scatter

        save_scatter(np.asarray(data.train.x[:5000]), path, title=data.name)
        return
    from gentool.render.grid import save_grid

    binary = [k for k, one in enumerate(data.spec.attributes) if one.kind == "binary"]
    rows, columns = _picked(data.train, len(data.spec.classes), binary)
    save_grid(np.asarray(data.train.x[rows]), path, columns)


def _picked(split: Split, classes: int, binary: list[int]) -> tuple[np.ndarray, int | None]:
    """The rows to show, and how many stand in a line."""
    most = _SHOWN if max(split.x.shape[2:]) <= 128 else 16
    columns = 8 if most == _SHOWN else 4
    if split.labels is not None and 0 < classes <= _SHOWN_CLASSES:
        per_class = [np.flatnonzero(split.labels == k)[:columns] for k in range(classes)]
    elif split.attributes is not None and 0 < len(binary) <= _SHOWN_CLASSES:
        per_class = [np.flatnonzero(split.attributes[:, k] == 1)[:columns] for k in binary]
    else:
        return np.arange(min(most, len(split))), None
    if any(len(rows) < columns for rows in per_class):
        return np.sort(np.concatenate(per_class))[:most], None
    return np.concatenate(per_class), columns


def _attributes(data: Dataset) -> dict[str, dict[str, Any]]:
    """Of each attribute over the training split, in its own units: for binary ones the mean is
    the share that has it."""
    if data.train.attributes is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for one, column in zip(data.spec.attributes, data.train.attributes.T, strict=True):
        values = column.astype(np.float64)
        mean, std = float(values.mean()), float(values.std())
        facts = {"kind": one.kind, "mean": one.mean + one.scale * mean, "std": one.scale * std}
        found[one.name] = facts
    return found


def _per_class(split: Split, classes: int) -> list[int] | None:
    if split.labels is None or not classes:
        return None
    counts: list[int] = np.bincount(split.labels, minlength=classes).tolist()
    return counts
