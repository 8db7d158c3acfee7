"""Rules about training on several processes: two with half a batch each equal one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from gentool.model import Player
from gentool.testing.subject import BATCH, CPU, Candidate, alone, demand, rows, step_at
from gentool.train.distributed import World
from gentool.train.loop import Trainer

PATIENCE = 120.0
"""Seconds that one process waits for the other."""


def shares(subject: Candidate) -> None:
    """The mean of two half batches' gradients is the whole batch's, with the same noise by row.

    In eval mode, because dropout and batch statistics are each process's own.
    """
    trainer = subject.trainer(steps=4)
    trainer.model.eval()
    for state in trainer.players:
        alone(trainer, state.player)
        whole = _gradient(trainer, state.player, subject, [(0, BATCH)])
        halves = _gradient(trainer, state.player, subject, [(0, BATCH // 2), (BATCH // 2, BATCH)])
        gap = (whole - halves).norm().item()
        demand(
            gap <= 1e-3 * whole.norm().item() + 1e-6,
            f"for player {state.player.name!r}, two processes with half a batch each would take "
            f"another step than one (gradients differ by {gap:.2g} of {whole.norm().item():.2g}); "
            "take means, not sums, over the batch, and draw step.noise with shape (N, …), "
            "once a name",
        )


def _gradient(
    trainer: Trainer, player: Player, subject: Candidate, parts: list[tuple[int, int]]
) -> Tensor:
    """The gradient of a batch of `BATCH`, computed in parts as processes would."""
    trainer.model.zero_grad(set_to_none=True)
    batch = subject.batch(BATCH)
    for start, stop in parts:
        step = step_at(player.name, row_offset=start, exact=True)
        loss = player.objective(rows(batch, start, stop), step).loss
        (loss * ((stop - start) / BATCH)).backward()
    grads = [p.grad for p in player.module.parameters() if p.requires_grad]
    return torch.cat([g.flatten().double() for g in grads if g is not None])


def processes(subject: Candidate) -> None:
    """Two processes train a round and a bit, and hold the same model after it.

    They are threads here, which spares starting Python and torch twice; all else is as in training
    under torchrun.
    """
    meeting = Meeting()
    # Built one after the other: threads share the generator that initial weights come from.
    trainers = [subject.trainer(20, meeting.world(rank)) for rank in range(2)]

    def train(trainer: Trainer) -> dict[str, Tensor]:
        try:
            for _ in range(trainer.players[0].player.steps + 1):
                trainer.take_step()
            return {k: v.clone() for k, v in trainer.model.state_dict().items()}
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(train, trainer) for trainer in trainers]
    errors = [e for f in running if (e := f.exception()) is not None]
    # The one that broke the meeting says why; the other only that it was broken.
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        demand(
            not isinstance(error, threading.BrokenBarrierError),
            "two processes do not meet: do both call every player, every step?",
        )
        raise error
    first, second = (f.result() for f in running)
    wrong = next((k for k, v in first.items() if not torch.equal(v, second[k])), None)
    demand(
        wrong is None,
        f"two processes end with different {wrong!r}; change parameters by gradients and "
        "after_step, and integer buffers by what does not depend on the data",
    )


class Meeting:
    """Two threads that exchange tensors as processes do."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=PATIENCE)
        self.parts: dict[int, list[Tensor]] = {}

    def world(self, rank: int) -> World:
        return _Together(self, rank)

    def exchange(self, rank: int, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Every rank's tensors, in the order of the ranks."""
        self.parts[rank] = [t.detach().clone() for t in tensors]
        self.barrier.wait()
        found = [self.parts[r] for r in range(2)]
        self.barrier.wait()
        return found


class _Together(World):
    """A world of two threads."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        super().__init__(CPU, rank, 2)
        self.meeting = meeting

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        with torch.no_grad():
            parts = self.meeting.exchange(self.rank, tensors)
            for t, a, b in zip(tensors, *parts, strict=True):
                t.copy_(a + b)

    def any(self, flag: bool) -> bool:
        parts = self.meeting.exchange(self.rank, [torch.tensor(flag)])
        return bool(torch.stack([p[0] for p in parts]).any())

    def gather(self, tensor: Tensor) -> list[Tensor]:
        return [p[0] for p in self.meeting.exchange(self.rank, [tensor])]

    @contextmanager
    def main_first(self) -> Iterator[None]:
        yield
