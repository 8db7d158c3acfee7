"""Running a recipe: train as ``gentool train`` does, evaluate, compare."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gentool import index, runs
from gentool.console import Progress
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.files import write_bytes
from gentool.metrics import judge
from gentool.runs import Run
from gentool.train.job import Job
from gentool.train.session import start
from gentool.verify import anchors
from gentool.verify.recipes import Check, Recipe


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        obtained: the number; None where it could not be had.
        problem: the reason, where it could not.
    """

    recipe: Recipe
    check: Check
    obtained: float | None
    seconds: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        return self.obtained is not None and self.check.holds(self.obtained)

    @property
    def verdict(self) -> str:
        if self.obtained is None:
            return "not run"
        return "pass" if self.passed else "FAIL"

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "metric": self.check.metric,
            "value": self.check.value,
            "settings": self.check.settings,
            "expected": self.check.expected,
            "obtained": self.obtained,
            "band": list(self.check.band),
            "verdict": self.verdict,
            "problem": self.problem,
            "source": self.recipe.source,
            "seconds": round(self.seconds, 1),
        }


def run(
    recipe: Recipe, job: Job | None, options: DataOptions, out: Path, progress: Progress
) -> list[Outcome]:
    """Run one recipe; what a user can mend becomes an outcome, so that the others still run.

    Args:
        job: what to train; None for an anchor.
        options: data options of an anchor.
        out: the new run's folder.
    """
    began = time.monotonic()
    obtained: list[float | None]
    problem = ""
    try:
        if job is None:
            numbers = anchors.find(recipe.anchor)(options, progress)
            obtained = [_number(numbers, check) for check in recipe.checks]
        else:
            made = _trained(job, out)
            device = job.settings.device
            obtained = [_measure(made, c, options, device, progress) for c in recipe.checks]
    except UserError as error:
        obtained, problem = [None] * len(recipe.checks), str(error)
    seconds = time.monotonic() - began
    return [
        Outcome(recipe, check, number, seconds, problem)
        for check, number in zip(recipe.checks, obtained, strict=True)
    ]


def _trained(job: Job, out: Path) -> Run:
    """Train into `out`; "the latest run" stays what it was."""
    with _latest_kept():
        made = start(job, out)
    index.forget(made.path)
    return made


def _measure(
    made: Run, check: Check, options: DataOptions, device: str, progress: Progress
) -> float:
    """One number, as ``gentool evaluate`` gives it, on the device that the run was trained on."""
    (record,) = judge.evaluate(
        [made.path],
        check.plan,
        metrics=[check.metric],
        cache=options.cache,
        device=device,
        progress=progress,
    )
    return _number({name: entry["mean"] for name, entry in record["values"].items()}, check)


def _number(numbers: Mapping[str, float | None], check: Check) -> float:
    if check.value not in numbers:
        raise UserError(
            f"the recipe checks {check.value!r}, but there are only {', '.join(numbers)}"
        )
    number = numbers[check.value]
    if number is None:
        raise UserError(f"{check.value} is not finite")
    return number


@contextlib.contextmanager
def _latest_kept() -> Iterator[None]:
    """Put the pointer to the latest run back where it was: a verification is no work of its own."""
    before = runs.LATEST.read_bytes() if runs.LATEST.is_file() else None
    there = runs.ROOT.is_dir()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if before is not None:
                write_bytes(runs.LATEST, before)
            else:
                runs.LATEST.unlink(missing_ok=True)
            if not there:
                runs.ROOT.rmdir()
