"""How many threads a step uses on the CPU: as many as help just now, and never other bits.

OpenMP shares work out evenly and waits for the slowest share. A thread that the scheduler has put
behind a busy neighbour makes every small operation wait for its turn, so that two threads can be
four times slower than one. Nobody can know beforehand; so the trainer looks at what steps cost, and
moves.

Equal settings give equal weights all the same: a count is used only if a training step gives the
same bits with it, which `proven` shows on the run's own shapes before training begins. Dense
layers pass, since their products are split without touching a sum. Convolutions and the sums of
batch normalisation do not pass; such a model keeps the count it began with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Clock = Callable[[], float]

WINDOW = 0.03
"""Seconds of steps whose mean is compared."""

BETTER = 0.95
"""A count is left for one whose steps take less than this share of the time."""

STRETCHED = 1.25
"""Steps so many times longer than usual call for a trial at once."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 3.0
"""Seconds between trials of a count; doubled each time that it is no better."""

FRESH = 3.0
"""Seconds for which what a count cost is believed."""


@dataclass
class Known:
    """What is known of a count.

    Attributes:
        cost: seconds a step, of its last window; None before the first.
        usual: the same in good times: falls at once, rises slowly.
        seen: when `cost` was measured.
        wait: seconds until its next trial.
    """

    cost: float | None = None
    usual: float = 0.0
    seen: float = 0.0
    wait: float = FIRST_WAIT

    def note(self, cost: float, now: float) -> None:
        first = self.cost is None
        self.cost, self.seen = cost, now
        self.usual = cost if first else min(cost, self.usual + 0.1 * (cost - self.usual))


class StepThreads:
    """Moves between counts of threads by what steps cost. A context manager around each step.

    Time between steps (evaluation, checkpoints) is not counted.
    """

    def __init__(
        self,
        counts: Sequence[int],
        steps: int = 1,
        clock: Clock = time.perf_counter,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """
        Args:
            counts: what may be used; the first is in use.
            steps: a window holds a multiple of so many steps: the players' round.
        """
        self.counts = sorted(counts)
        self.count = counts[0]
        self._known = {count: Known() for count in counts}
        self._steps, self._clock, self._use = steps, clock, use
        self._origin: int | None = None  # where a trial came from
        self._taken, self._spent, self._entered = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._entered = self._clock()

    def __exit__(self, *error: object) -> None:
        now = self._clock()
        self._spent += now - self._entered
        self._taken += 1
        if self._taken % self._steps:
            return
        mean = self._spent / self._taken
        if self._spent >= WINDOW or self._hopeless(mean):
            self._window(mean, now)

    def _hopeless(self, mean: float) -> bool:
        """Whether a trial need not go on: every second of it is lost."""
        if self._origin is None or self._taken < 3:
            return False
        before = self._known[self._origin].cost
        return before is not None and mean > 2 * before

    def _window(self, mean: float, now: float) -> None:
        """Note what the window cost, and choose the count of the next."""
        here = self._known[self.count]
        stretched = here.cost is not None and mean > STRETCHED * here.usual
        here.note(mean, now)
        self._taken, self._spent = 0, 0.0
        if self._origin is not None:
            self._judge(mean, now)
        elif (better := self._remembered(mean, now)) is not None:
            self._move(better)
        else:
            self._consider(now, stretched)

    def _judge(self, mean: float, now: float) -> None:
        """The end of a trial: stay, or go back and wait longer for the next."""
        origin, self._origin = self._origin, None
        assert origin is not None
        before = self._known[origin].cost
        here = self._known[self.count]
        if before is not None and mean < BETTER * before:
            here.wait = self._known[origin].wait = FIRST_WAIT
            self._known[origin].seen = now
            return
        here.wait = min(LONGEST_WAIT, 2 * here.wait)
        self._move(origin)

    def _remembered(self, mean: float, now: float) -> int | None:
        """A count that was clearly cheaper a moment ago."""
        for count in self._neighbours():
            known = self._known[count]
            fresh = known.cost is not None and now - known.seen < FRESH
            if fresh and (known.cost or 0.0) * STRETCHED < BETTER * mean:
                return count
        return None

    def _consider(self, now: float, stretched: bool) -> None:
        """Begin a trial where one is due; when steps stretch, of fewer threads, at once."""
        for count in self._neighbours():
            known = self._known[count]
            due = known.cost is None or now - known.seen >= known.wait
            if due or (stretched and count < self.count):
                self._origin = self.count
                self._move(count)
                return

    def _neighbours(self) -> list[int]:
        """The next lower count and the next higher one, where they are."""
        at = self.counts.index(self.count)
        return [self.counts[i] for i in (at - 1, at + 1) if 0 <= i < len(self.counts)]

    def _move(self, count: int) -> None:
        self.count = count
        self._use(count)


def ladder(most: int) -> list[int]:
    """Counts worth trying, from the most: all, all but one, and halves down to 1."""
    found = [most, most - 1]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return sorted({n for n in found if n >= 1}, reverse=True)


def proven(counts: Sequence[int], work: Iterable[Callable[[], Sequence[Tensor]]]) -> list[int]:
    """The first of `counts`, and those after it with which all `work` gives the same bits.

    Whatever fails to prove a count proves none below it either. torch uses the first afterwards.
    """
    first, *others = counts
    kept = list(others)
    try:
        for piece in work:
            expected = _bits(piece, first)
            for n in kept:
                if not _equal(_bits(piece, n), expected):
                    kept = kept[: kept.index(n)]
                    break
            if not kept:
                break
    except Exception:  # training itself will say what is wrong
        kept = []
    finally:
        torch.set_num_threads(first)
    return [first, *kept]


def _bits(piece: Callable[[], Sequence[Tensor]], count: int) -> list[Tensor]:
    torch.set_num_threads(count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [t.detach().clone() for t in piece()]


def _equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Equal to the bit, shape for shape; a NaN, which proves nothing, is never equal."""
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a, b, strict=True))
