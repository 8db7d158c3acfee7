"""The record of an evaluation: numbers, their spread and floor, and all that they depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool.data.options import DataOptions
from gentool.files import canonical_json, user_errors
from gentool.folder import Folder
from gentool.metrics.plan import OF_THIS_MACHINE
from gentool.metrics.subjects import Subject
from gentool.metrics.trial import Bench
from gentool.spec import MetricInfo
from gentool.version import __version__

FORMAT_VERSION = 1


def entries(
    metric: MetricInfo, measured: list[dict[str, float]], floors: list[dict[str, float]]
) -> dict[str, dict[str, Any]]:
    """One entry a number: mean, spread, each seed's value, and the floor likewise."""
    known = {v.name: v for v in metric.values}
    names = [*(n for n in known if n in measured[0]), *(n for n in measured[0] if n not in known)]
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        entry: dict[str, Any] = {"metric": metric.name}
        entry |= summary([m[name] for m in measured])
        if floors:
            entry["floor"] = summary([f[name] for f in floors])
        if name in known:
            entry |= {"better": known[name].better, "ideal": known[name].ideal}
        entries[name] = entry
    return entries


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation over seeds (None for one), and the values.

    What is not finite is None: JSON has no NaN.
    """
    finite = all(math.isfinite(v) for v in values)
    spread = statistics.stdev(values) if finite and len(values) > 1 else None
    return {
        "mean": statistics.fmean(values) if finite else None,
        "spread": spread,
        "values": [v if math.isfinite(v) else None for v in values],
    }


def identity(
    subject: Subject, bench: Bench, asked: DataOptions, metrics: Sequence[MetricInfo]
) -> dict[str, Any]:
    """What the numbers depend on."""
    header, plan = subject.loaded.header, bench.plan
    # Cached properties: they are there once a metric has asked for them.
    space = bench.space if "space" in vars(bench) else None
    labeller = bench.classifier[1] if "classifier" in vars(bench) else None
    return {
        "model": {
            "name": header.model,
            "run": subject.name,
            **({} if subject.prior is None else {"prior": subject.prior}),
            "plugin": {"distribution": header.distribution, "version": header.version},
            "sha256": hashlib.sha256(subject.file.read_bytes()).hexdigest(),
        },
        "data": {
            "name": bench.dataset.name,
            "fingerprint": bench.dataset.fingerprint,
            "real": "train",
            "floor": "train against test",
            "resize": {"size": asked.size, "fit": asked.fit, "channels": asked.channels},
        },
        "features": None if space is None else space.to_json(),
        "classifier": None if labeller is None else labeller.to_json(),
        **bench.facts,
        "settings": {
            **{k: v for k, v in dataclasses.asdict(plan).items() if k not in OF_THIS_MACHINE},
            "metrics": [m.name for m in metrics],
            "samples": "uint8" if bench.images else "float32",
            "precision": "fp32",
        },
        "versions": {
            "gentool": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "device": bench.device.type,
        },
    }


def write_record(record: dict[str, Any], results: Folder) -> Path:
    """Keep a record in its run's results. The same evaluation of the same weights has one name."""
    other = ("format_version", "classifier", "versions", "warnings", "values")
    identity = {k: v for k, v in record.items() if k not in other}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    name = f"evaluate-{digest}.json"
    with user_errors("the results", results.path / name):
        results.write_json(name, record)
    return results.path / name
