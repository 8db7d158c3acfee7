"""Runs as a comparison sees them: options, curves and last numbers. Files may be anybody's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gentool import runs
from gentool.console import is_showable
from gentool.errors import UserError, printable
from gentool.folder import Folder
from gentool.runs import Run
from gentool.sweep.plan import is_sweep, members

NOT_CURVES = frozenset({"epoch", "step", "split", "examples_per_s", "warning"})

NO_DIFFERENCE = frozenset(
    {"seed", "device", "threads", "log", "log_every", "sample_every", "save_every", "keep"}
    | {"max_time", "profile", "cache", "best"}
)
"""Settings that change no result, or, as the seed, only by chance."""

MOST_RECORD, MOST_RECORDS, MOST_NAMES = 2**24, 200, 400

RECORD = re.compile(r"evaluate-.+\.json")

Point = tuple[float, float]


@dataclass(frozen=True)
class Member:
    """One run of a comparison.

    Attributes:
        options: by name, what may tell it from others.
        seed: None where its config names none.
        rows: of metrics.jsonl.
        values: the last number of each test scalar (of training, where the model has no test
            scalars), and on top the means of its evaluations.
        better: which way is better, of evaluations that say so.
        conditions: of each evaluation's number, what it depends on beside the run.
    """

    name: str
    run: Run
    config: dict[str, Any]
    options: dict[str, str]
    seed: int | None
    rows: list[dict[str, Any]]
    values: dict[str, float]
    better: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return max((row["step"] for row in self.rows), default=0)


def find(names: Iterable[str | os.PathLike[str]]) -> list[Member]:
    """The runs of those names, a sweep's folder standing for its runs; raises UserError."""
    paths: dict[Path, tuple[Path, str]] = {}
    for name in names:
        path = runs.find(os.fspath(name)).path
        found = members(path) if is_sweep(path) else [path]
        if not found:
            raise UserError(f"the sweep {printable(str(path))} has no runs yet")
        for one in found:
            label = f"{path.resolve().name}/{one.name}" if one != path else path.resolve().name
            paths.setdefault(one.resolve(), (one, label))
    return [member(Run(path), label) for path, label in paths.values()]


def member(run: Run, name: str) -> Member:
    """Read one run; raises UserError where it is none."""
    with run.folder() as folder:
        config, rows = runs.read_config(folder), runs.read_metrics(folder)
        records = evaluations(folder)
    settings = _table(config, "settings")
    options = {
        "model": shown(config.get("model")),
        "data": shown(_table(config, "data_options").get("data")),
    }
    for part in ("config", "settings", "data_options"):
        for key, value in _table(config, part).items():
            if key not in NO_DIFFERENCE and len(options) < MOST_NAMES:
                options.setdefault(str(key), shown(value))
    found = Member(name, run, config, options, _seed(settings), rows, last_values(rows))
    for record in records:
        _add(found, record)
    return found


def last_values(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The last number of each scalar of the test split, or of training where there is no other."""
    last: dict[str, dict[str, float]] = {}
    for row in rows:
        numbers = {k: float(v) for k, v in row.items() if k not in NOT_CURVES and is_showable(v)}
        last.setdefault(str(row.get("split")), {}).update(numbers)
    return dict(last.get("test") or last.get("train") or {})


def evaluations(folder: Folder) -> list[dict[str, Any]]:
    """The records of ``gentool evaluate`` in an open run, oldest first, without what is none."""
    if not folder.has("results"):
        return []
    found: list[tuple[float, dict[str, Any]]] = []
    try:
        with folder.folder("results") as results:
            names = [n for n in results.names() if RECORD.fullmatch(n)]
            for name in names[:MOST_RECORDS]:
                try:
                    with results.open(name, MOST_RECORD) as file:
                        time, record = os.fstat(file.fileno()).st_mtime, json.loads(file.read())
                except (OSError, ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and isinstance(record.get("values"), dict):
                    found.append((time, record))
    except OSError:  # a link instead of a folder
        return []
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]


def _add(found: Member, record: dict[str, Any]) -> None:
    """Put an evaluation's numbers over those before it."""
    settings, features = _table(record, "settings"), _table(record, "features")
    for name, entry in list(record["values"].items())[:MOST_NAMES]:
        if not isinstance(entry, dict) or not is_showable(entry.get("mean")):
            continue
        found.values[str(name)[: runs.LONGEST_NAME]] = float(entry["mean"])
        if entry.get("better") in ("lower", "higher"):
            found.better[str(name)] = entry["better"]
        space = features.get("hash") or features.get("name")
        found.conditions[str(name)] = printable(f"n = {settings.get('n')}, features {space}", 100)


def curve(member: Member, metric: str, x: str, split: str | None = None) -> list[Point]:
    """A scalar over steps, epochs or seconds of training: test rows, or training's where none."""
    splits = [split] if split else ["test", "train"]
    positions = _seconds(member) if x == "time" else {}
    for one in splits:
        points: list[Point] = []
        for row in member.rows:
            if row.get("split") != one or not is_showable(row.get(metric)):
                continue
            at = positions.get(row["step"]) if x == "time" else row[x]
            if at is not None:
                points.append((float(at), float(row[metric])))
        if points:
            return points
    return []


def _seconds(member: Member) -> dict[int, float]:
    """Seconds of training by step: examples over the rate that each epoch noted."""
    batch = _table(member.config, "settings").get("batch_size")
    if not isinstance(batch, int) or not is_showable(batch):
        return {}
    seconds, before, found = 0.0, 0, {0: 0.0}
    for row in member.rows:
        rate = row.get("examples_per_s")
        if isinstance(rate, float) and is_showable(rate) and rate > 0 and row["step"] > before:
            seconds += (row["step"] - before) * batch / rate
            before = row["step"]
            found[before] = seconds
    return found


def shown(value: Any) -> str:
    """An option's value as a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ",".join(map(shown, value[:20]))
    return "none" if value is None else printable(str(value), 80)


def _table(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _seed(settings: Mapping[str, Any]) -> int | None:
    seed = settings.get("seed")
    return seed if type(seed) is int else None
