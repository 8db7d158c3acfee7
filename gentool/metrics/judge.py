"""From models to records: load, draw, measure, repeat, write down how."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gentool.console import Progress
from gentool.data.dataset import Dataset
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.folder import Folder
from gentool.metrics import registry
from gentool.metrics.likelihood import collapse_warning
from gentool.metrics.plan import MOST, Plan
from gentool.metrics.records import FORMAT_VERSION, entries, identity, write_record
from gentool.metrics.subjects import (
    OF_THE_MODEL,
    Subject,
    facts_of,
    find_data,
    find_subject,
    source_of,
    told_apart,
    under,
)
from gentool.metrics.trial import Bench, Trial
from gentool.spec import MetricInfo

GREY = (
    "nll and elbo are those of coins thrown with grey pixels, which is no probability of the "
    "images; compare them only with others of the kind"
)


def evaluate(
    sources: Sequence[str | Path],
    plan: Plan,
    *,
    data: str | None = None,
    metrics: Iterable[str] | None = None,
    cache: str | None = None,
    device: str = "auto",
    prior: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> list[dict[str, Any]]:
    """Judge trained models; the one way from a run to its numbers.

    Models on the same data share the reals, their features and the floor. Whatever does not fit
    is told before the first is judged. Each record is kept in its run.

    Args:
        sources: runs or model files; none of them: the latest run.
        data: as ``--data``; None for what each run was trained on.
        metrics: names; None for every default one that fits the model.
        cache: the folder of data that can be made again.
        device: as ``--device``.
        prior: as ``--prior``: each model is judged once more under it, by its samples.

    Returns:
        a record each, in the order of `sources`; see `judge`. With `prior` two each, that of the
        model's own first.

    Raises:
        UserError: for whatever the user can mend.
    """
    subjects = [find_subject(str(source), device) for source in sources]
    subjects = told_apart(subjects) or [find_subject(None, device)]
    wanted = None if metrics is None else list(metrics)
    benches: dict[str, Bench] = {}
    cases = []
    for subject in subjects:
        asked, dataset, notes = find_data(subject, data, cache, progress)
        if dataset.fingerprint not in benches:
            if benches:
                first = next(iter(benches.values())).dataset.name
                raise UserError(
                    f"{printable(subject.name)} was trained on other data than the runs before it "
                    f"({first}), and numbers on different data do not compare; "
                    "name one for all with --data"
                )
            where = subject.loaded.device, asked.cache_folder()
            bench = Bench(dataset, filled(plan, dataset), *where, progress, source_of(asked))
            benches[dataset.fingerprint] = bench
        facts = facts_of(subject, dataset, source_of(asked))
        chosen = registry.choose(wanted, facts)
        for metric in chosen:
            registry.check(metric, benches[dataset.fingerprint])
        cases.append((subject, benches[dataset.fingerprint], asked, chosen, notes))
        if prior is not None:
            of_samples = [m for m in chosen if not m.needs & OF_THE_MODEL]
            cases.append((under(subject, prior, dataset), *cases[-1][1:3], of_samples, notes))
    with ExitStack() as stack:
        folders = [_results(subject, stack) for subject, *_ in cases]
        records = []
        for case, results in zip(cases, folders, strict=True):
            records.append(judge(*case, results=results))
            if results is not None:
                write_record(records[-1], results)
    return records


def _results(subject: Subject, stack: ExitStack) -> Folder | None:
    """Where a subject's record goes; refused before anything is measured."""
    return None if subject.run is None else stack.enter_context(subject.run.open_inner("results"))


def filled(plan: Plan, dataset: Dataset) -> Plan:
    """The plan with the sizes that this data gives; raises UserError where it has too little."""
    n = _size(plan.n, dataset)
    if plan.neighbours >= n:
        raise UserError(
            f"--neighbours is {plan.neighbours}, but with {n} examples a side it must be less"
        )
    return dataclasses.replace(plan, n=n, nll_n=min(plan.nll_n, len(dataset.test)))


def _size(asked: int | None, dataset: Dataset) -> int:
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


def judge(
    subject: Subject,
    bench: Bench,
    asked: DataOptions,
    metrics: Sequence[MetricInfo],
    notes: Sequence[str] = (),
    results: Folder | None = None,
) -> dict[str, Any]:
    """Measure every metric with every seed.

    Args:
        results: where metrics may leave pictures.

    Returns:
        the record: plain JSON, complete enough to repeat the evaluation.
    """
    plan = bench.plan
    measured: dict[str, list[dict[str, float]]] = {m.name: [] for m in metrics}
    floors: dict[str, list[dict[str, float]]] = {m.name: [] for m in metrics}
    total = plan.seeds * len(metrics)
    for i in range(plan.seeds):
        trial = Trial(bench, subject.loaded, plan.seed + i, results)
        for j, metric in enumerate(metrics):
            bench.progress(f"judging {subject.name}", i * len(metrics) + j, total)
            measured[metric.name].append(trial.measure(metric))
            if (floor := bench.floor(metric, trial)) is not None:
                floors[metric.name].append(floor)
    bench.progress(f"judging {subject.name}", total, total)
    values = {
        name: entry
        for metric in metrics
        for name, entry in entries(metric, measured[metric.name], floors[metric.name]).items()
    }
    warning = collapse_warning({name: entry["mean"] for name, entry in values.items()})
    warnings = [*notes, *bench.warnings, *([warning] if warning else [])]
    if "nll" in measured and getattr(subject.loaded.model, "support", "") == "grey":
        warnings.append(GREY)
    return {
        "format_version": FORMAT_VERSION,
        **identity(subject, bench, asked, metrics),
        "warnings": warnings,
        "values": values,
    }
