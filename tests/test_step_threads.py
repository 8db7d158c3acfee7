"""Threads that come and go while training: cheap when a neighbour is busy, and never other bits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gentool
from gentool.train import session
from gentool.train.loop import Trainer
from gentool.train.rehearsal import step_threads
from gentool.train.threads import StepThreads, ladder, proven

Cost = Callable[[int, float], float]


def play(counts: list[int], cost: Cost, seconds: float) -> list[tuple[float, float, int]]:
    """Steps on a clock that nobody waits for: (when each ended, what it cost, its count)."""
    now = 0.0
    threads = StepThreads(counts, clock=lambda: now, use=lambda n: None)
    steps = []
    while now < seconds:
        count = threads.count
        with threads:
            now += cost(count, now)
        steps.append((now, cost(count, now), count))
    return steps


def busy_between(begin: float, end: float) -> Cost:
    """Two threads take 2 ms and one 3; beside a busy neighbour two take 12."""
    return lambda count, now: 0.003 if count == 1 else 0.012 if begin < now < end else 0.002


def test_a_neighbour_who_comes_and_goes_costs_little() -> None:
    cost = busy_between(10, 40)
    steps = play([2, 1], cost, 60)
    ideal = 20 / 0.002 + 30 / 0.003
    assert len(steps) > 0.96 * ideal
    beside = [end for end, _, count in steps if count == 2 and 10.5 < end < 40]
    assert len(beside) * 0.012 < 0.05 * 29.5, "trials beside the neighbour cost too much"
    assert all(count == 1 for end, _, count in steps if 10.2 < end < 10.6), "slow to go down"
    back = [end for end, _, count in steps if count == 2 and end > 40]
    assert back[0] < 44
    after = [count for end, _, count in steps if end > 45]
    assert after.count(2) > 0.97 * len(after)


def test_a_neighbour_who_is_there_from_the_start_is_noticed_at_once() -> None:
    steps = play([2, 1], busy_between(-1, 1e9), 10)
    assert all(count == 1 for end, _, count in steps if 0.2 < end < 0.5)
    assert len(steps) > 0.95 * 10 / 0.003


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_noise_does_not_drive_the_count_about(noise: float) -> None:
    chance = random.Random(0)
    quiet = busy_between(0, 0)
    steps = play([2, 1], lambda n, now: quiet(n, now) * chance.uniform(1 - noise, 1 + noise), 30)
    assert [count for *_, count in steps].count(2) > 0.95 * len(steps)


def test_of_many_cores_all_but_one_are_kept_beside_one_neighbour() -> None:
    def cost(count: int, now: float) -> float:
        return 0.016 / count * (4 if count == 8 else 1)  # the eighth thread waits its turn

    steps = play(ladder(8), cost, 20)
    counts = [count for end, _, count in steps if end > 1]
    assert counts.count(7) > 0.9 * len(counts)


def test_windows_hold_whole_rounds() -> None:
    """A critic's cheap steps and a generator's dear one are compared as a round."""
    now, steps = 0.0, 0
    threads = StepThreads([2, 1], steps=5, clock=lambda: now, use=lambda n: None)
    moves = []
    while now < 5:
        count = threads.count
        with threads:
            steps += 1
            dear = 8 if steps % 5 == 0 else 1
            now += dear * (0.002 if count == 2 else 0.003)
        if threads.count != count:
            moves.append(steps)
    assert moves and all(step % 5 == 0 for step in moves)
    assert threads.count == 2


def test_the_ladder() -> None:
    assert ladder(1) == [1]
    assert ladder(2) == [2, 1]
    assert ladder(8) == [8, 7, 3, 1]
    assert ladder(16) == [16, 15, 7, 3, 1]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_only_equal_bits_are_proof(two_threads: None) -> None:
    fine: Callable[[], list[Tensor]] = lambda: [torch.ones(3)]  # noqa: E731
    other: Callable[[], list[Tensor]] = lambda: [torch.tensor(torch.get_num_threads())]  # noqa: E731

    def nan() -> list[Tensor]:
        return [torch.tensor(torch.nan)]

    def fails() -> list[Tensor]:
        raise RuntimeError

    assert proven([2, 1], [fine]) == [2, 1]
    assert proven([4, 3, 1], [lambda: [torch.tensor(torch.get_num_threads() // 3)]]) == [4, 3]
    for bad in (other, nan, fails):
        assert proven([2, 1], [fine, bad]) == [2]
    assert torch.get_num_threads() == 2


def test_random_masks_are_the_same_for_every_count(two_threads: None) -> None:
    assert proven([2, 1], [lambda: [nn.Dropout()(torch.ones(100))]]) == [2, 1]


class Flipping(StepThreads):
    """Another count at every step, whatever it costs."""

    def _window(self, mean: float, now: float) -> None:
        raise AssertionError("windows never end here")

    def __exit__(self, *error: object) -> None:
        self._move(self.counts[(self.counts.index(self.count) + 1) % len(self.counts)])


@pytest.mark.parametrize("model", ["vae", "gan", "dcgan"])
def test_moving_at_every_step_gives_the_same_weights(
    model: str, tmp_path: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StepThreads | None] = []

    def flipping(trainer: Trainer) -> StepThreads | None:
        torch.set_num_threads(2)
        found = step_threads(trainer)
        made.append(found and Flipping([2, *(n for n in found.counts if n != 2)]))
        return made[-1]

    def fixed(trainer: Trainer) -> None:
        torch.set_num_threads(2)

    weights = []
    for name, plan in (("moving", flipping), ("fixed", fixed)):
        monkeypatch.setattr(session, "step_threads", plan)
        run = gentool.train(model, data="glyphs:128", steps=8, sample_every=0, out=tmp_path / name)
        weights.append((run.path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1], made
    if model != "dcgan":  # its sums need not be those of another count
        assert made[0] is not None and made[0].counts == [1, 2]


def test_a_fixed_count_is_fixed(tmp_path: Path, two_threads: None) -> None:
    seen: list[Trainer] = []
    original = session.step_threads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "step_threads", lambda t: (seen.append(t), original(t))[1])
        gentool.train("vae", data="glyphs:128", steps=1, threads=2, out=tmp_path / "a")
    assert seen[0].game.threads is None


def test_a_training_leaves_the_count_as_it_was(tmp_path: Path, two_threads: None) -> None:
    gentool.train("vae", data="glyphs:128", steps=1, threads=1, out=tmp_path / "a")
    assert torch.get_num_threads() == 2
