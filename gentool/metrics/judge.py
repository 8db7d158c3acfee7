"""From models to records: load, draw, measure, repeat, write down how."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool import data, options, runs
from gentool.data.dataset import Dataset
from gentool.data.options import DataOptions
from gentool.data.sources import points
from gentool.errors import UserError, printable
from gentool.files import canonical_json, user_errors, write_json
from gentool.loading import LoadedModel, load
from gentool.metrics.likelihood import collapse_warning
from gentool.metrics.registry import MetricInfo
from gentool.metrics.trial import Bench, Plan, Progress, Trial
from gentool.model import Encodes, Evaluates, HasLikelihood
from gentool.runs import Run
from gentool.spec import DataSpec
from gentool.train.devices import pick_device
from gentool.train.matmul import choose_matmul
from gentool.version import __version__

FORMAT_VERSION = 1
GREY = (
    "nll and elbo are those of coins thrown with grey pixels, which is no probability of the "
    "images; compare them only with others of the kind"
)
MOST = 10_000
"""Examples a side, unless --n says otherwise."""


@dataclass(frozen=True)
class Subject:
    """A model to be judged.

    Attributes:
        name: of the run or file, for tables.
        loaded: the model, in eval mode, on the device.
        file: its model.safetensors.
        run: where the record goes; None for a lone file.
    """

    name: str
    loaded: LoadedModel
    file: Path
    run: Run | None


def find_subject(source: str | None, device: str) -> Subject:
    """Load a run (None: the latest) or a model file; raises UserError."""
    file = None if source is None or not Path(source).is_file() else Path(source)
    if file is None:
        run: Run | None = runs.find(source)
        assert run is not None
        file = run.model
    else:
        beside = Run(file.parent)
        run = beside if file.name == beside.model.name and beside.config.is_file() else None
    name = file.stem if run is None else run.path.resolve().name
    return Subject(
        name, load(str(file) if run is None else str(run.path), _device(device)), file, run
    )


def _device(name: str) -> torch.device:
    device = pick_device(name)
    choose_matmul(device)
    return device


def find_data(
    subject: Subject, source: str | None, cache: str | None, progress: Progress
) -> tuple[DataOptions, Dataset, list[str]]:
    """The data to judge by: what the run was trained on, unless `source` names other data.

    Returns:
        the options, the data, and sentences about what a reader should know.

    Raises:
        UserError: where there is no way to tell, or the data has another shape than the model's.
    """
    notes: list[str] = []
    spec = subject.loaded.header.data
    if source is None:
        if subject.run is None:
            raise UserError(
                f"{printable(str(subject.file))} is a lone file, which does not know its data; "
                "name the data with --data"
            )
        saved = subject.run.read_config()
        where = f"in {printable(str(subject.run.config))}"
        asked = options.build(DataOptions, saved.get("data_options", {}), where)
        asked = dataclasses.replace(asked, cache=cache or asked.cache)
        dataset = data.load(asked, progress=progress)
        if dataset.fingerprint != saved.get("fingerprint"):
            notes.append(
                f"the data {asked.data} has changed since {subject.name} was trained on it"
            )
    else:
        asked = DataOptions(data=source, cache=cache)
        dataset = data.load(asked, progress=progress)
        if spec.kind == "image" and dataset.spec.kind == "image" and dataset.spec != spec:
            asked = _as_the_model_saw(asked, spec)
            dataset = data.load(asked, progress=progress)
    if (dataset.spec.kind, dataset.spec.shape) != (spec.kind, spec.shape):
        raise UserError(
            f"{printable(asked.data)} holds {dataset.spec.kind} of shape {dataset.spec.shape}, but "
            f"{printable(subject.name)} was trained on {spec.kind} of shape {spec.shape}; "
            "name fitting data with --data"
        )
    if not len(dataset.test):
        raise UserError(
            f"{printable(asked.data)} has no test split, and every number here needs one; "
            "name data that has one with --data"
        )
    return asked, dataset, notes


def _as_the_model_saw(asked: DataOptions, spec: DataSpec) -> DataOptions:
    channels, height, width = spec.shape
    kind: Any = {1: "grey", 3: "rgb"}.get(channels, "auto")
    return dataclasses.replace(asked, size=f"{height}x{width}", channels=kind)


def facts_of(subject: Subject, dataset: Dataset, source: str) -> frozenset[str]:
    """Which of `gentool.metrics.registry.NEEDS` hold.

    Args:
        source: what ``--data`` said, without a count.
    """
    model, can = subject.loaded.model, subject.loaded.spec.capabilities
    classes = getattr(model, "classes", 0)
    fits = not classes or len(dataset.spec.classes) == classes
    images = dataset.spec.kind == "image"
    labelled = dataset.train.labels is not None and len(dataset.spec.classes) > 1
    has_density = getattr(model, "support", "") is not None
    found = {
        "likelihood": isinstance(model, HasLikelihood)
        and "likelihood" in can
        and has_density
        and fits,
        "reconstruct": isinstance(model, Encodes) and "reconstruct" in can and fits,
        "scalars": isinstance(model, Evaluates) and fits,
        "images": images,
        "labels": images and labelled,
        "mixture": not images and _is_mixture(source),
    }
    return frozenset(name for name, holds in found.items() if holds)


def source_of(asked: DataOptions) -> str:
    """``--data`` without a count: "ring" of "ring:5000"."""
    return asked.data.partition(":")[0]


def _is_mixture(name: str) -> bool:
    try:
        points.modes(name)
    except UserError:
        return False
    return True


def size_of(asked: int | None, dataset: Dataset) -> int:
    """Examples a side: --n, or as many as there are, up to 10,000; raises UserError."""
    smaller = min(len(dataset.train), len(dataset.test))
    if asked is None:
        return min(MOST, smaller)
    if asked > smaller:
        raise UserError(
            f"--n is {asked}, but {printable(dataset.name)} has {len(dataset.train)} training and "
            f"{len(dataset.test)} test examples, and both sides need as many; "
            f"give at most {smaller}"
        )
    return asked


def make_plan(dataset: Dataset, n: int | None, **values: Any) -> Plan:
    """A plan that this data can fill; raises UserError where it asks for more than there is."""
    plan = Plan(n=size_of(n, dataset), **values)
    if plan.neighbours >= plan.n:
        raise UserError(
            f"--neighbours is {plan.neighbours}, but with {plan.n} examples a side it must be less"
        )
    return dataclasses.replace(plan, nll_n=min(plan.nll_n, len(dataset.test)))


def judge(
    subject: Subject,
    bench: Bench,
    asked: DataOptions,
    metrics: Sequence[MetricInfo],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure every metric with every seed.

    Returns:
        the record: plain JSON, complete enough to repeat the evaluation.
    """
    plan, folder = bench.plan, None if subject.run is None else results_folder(subject.run)
    measured: dict[str, list[dict[str, float]]] = {m.name: [] for m in metrics}
    floors: dict[str, list[dict[str, float]]] = {m.name: [] for m in metrics}
    total = plan.seeds * len(metrics)
    for i in range(plan.seeds):
        trial = Trial(bench, subject.loaded, plan.seed + i, folder)
        for j, metric in enumerate(metrics):
            bench.progress(f"judging {subject.name}", i * len(metrics) + j, total)
            measured[metric.name].append(trial.measure(metric))
            if (floor := bench.floor(metric, trial)) is not None:
                floors[metric.name].append(floor)
    bench.progress(f"judging {subject.name}", total, total)
    values = {
        name: entry
        for metric in metrics
        for name, entry in _entries(metric, measured[metric.name], floors[metric.name]).items()
    }
    warning = collapse_warning({name: entry["mean"] for name, entry in values.items()})
    warnings = [*notes, *([warning] if warning else [])]
    if "nll" in measured and getattr(subject.loaded.model, "support", "") == "grey":
        warnings.append(GREY)
    return {
        "format_version": FORMAT_VERSION,
        **_identity(subject, bench, asked, metrics),
        "warnings": warnings,
        "values": values,
    }


def _entries(
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


def _identity(
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
        "settings": {
            **dataclasses.asdict(plan),
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


def results_folder(run: Run) -> Path:
    return run.path / "results"


def write_record(record: dict[str, Any], run: Run) -> Path:
    """Keep a record in its run. The same evaluation of the same weights has the same name."""
    identity = {k: record[k] for k in ("model", "data", "features", "settings")}
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    path = results_folder(run) / f"evaluate-{digest}.json"
    with user_errors("the results", path):
        write_json(path, record)
    return path
