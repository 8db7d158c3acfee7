"""Runs that differ by their seeds alone as one row: mean and deviation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gentool.compare.read import Member, last_values
from gentool.errors import UserError, nearest, printable

MOST_METRICS = 6
"""Columns that are shown without being asked for."""


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seeds alone.

    Attributes:
        options: those by which the groups of a comparison differ.
    """

    options: dict[str, str]
    members: list[Member]

    @property
    def label(self) -> str:
        """For a legend."""
        return ", ".join(f"{k}={v}" for k, v in self.options.items()) or self.members[0].name

    def summary(self, metric: str) -> tuple[float, float | None, int] | None:
        """(mean, deviation, runs) of a number; the deviation is the sample's, None of one run."""
        values = [m.values[metric] for m in self.members if metric in m.values]
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else None
        return statistics.fmean(values), spread, len(values)


def differing(members: Sequence[Member]) -> list[str]:
    """The options that are not the same in all runs, the model and the data first."""
    names = dict.fromkeys(name for m in members for name in m.options)
    return [n for n in names if len({m.options.get(n, "") for m in members}) > 1]


def group(members: Sequence[Member]) -> list[Group]:
    """The runs by what differs between them, in the order in which they were named."""
    names = differing(members)
    found: dict[tuple[str, ...], list[Member]] = {}
    for one in members:
        found.setdefault(tuple(one.options.get(n, "") for n in names), []).append(one)
    return [Group(dict(zip(names, key, strict=True)), ms) for key, ms in found.items()]


def choose(members: Sequence[Member], asked: Sequence[str] | None) -> list[str]:
    """The numbers to show: those asked for, or the first that the runs have, evaluations first.

    Raises:
        UserError: for one that no run has.
    """
    judged = dict.fromkeys(name for m in members for name in m.conditions)
    known = [*judged, *dict.fromkeys(n for m in members for n in m.values if n not in judged)]
    if asked is None:
        return known[:MOST_METRICS]
    for name in asked:
        if name not in known:
            raise UserError(
                f"no run has a number {printable(name)!r}{nearest(name, known)}; they have "
                f"{printable(', '.join(known[:20]), 300) or 'none'}"
            )
    return list(dict.fromkeys(asked))


def curve_names(members: Sequence[Member]) -> list[str]:
    """The curves that are drawn without being asked for: the first test scalars."""
    return list(dict.fromkeys(name for m in members for name in last_values(m.rows)))[:MOST_METRICS]


def remarks(groups: Sequence[Group], metrics: Sequence[str]) -> list[str]:
    """Sentences on what makes the numbers less comparable than they look."""
    said = []
    members = [m for g in groups for m in g.members]
    if len({m.step for m in members}) > 1:
        ends = ", ".join(f"{m.name} {m.step}" for m in members[:6])
        said.append(f"the runs stand at different steps ({ends})")
    for metric in metrics:
        conditions = {m.conditions[metric] for m in members if metric in m.conditions}
        if len(conditions) > 1:
            said.append(f"{metric} was measured in different ways: {'; '.join(sorted(conditions))}")
    for one in groups:
        seeds = [m.seed for m in one.members]
        if len(set(seeds)) < len(seeds):
            said.append(f"{one.label} has a seed twice; its deviation says less")
    return said


def to_json(groups: Sequence[Group], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A comparison for programs."""
    return [
        {
            "options": one.options,
            "runs": [str(m.run.path) for m in one.members],
            "seeds": [m.seed for m in one.members],
            "values": {
                metric: {
                    "mean": found[0],
                    "deviation": found[1],
                    "n": found[2],
                    "values": [m.values.get(metric) for m in one.members],
                }
                for metric in metrics
                if (found := one.summary(metric)) is not None
            },
        }
        for one in groups
    ]
