"""Decoding many images on all cores; the parent's side of `gentool.data.decoding.worker`.

Threads of `concurrent.futures` drive plain worker programs. Its process pool would not do: it
pickles what it sends, it runs the caller's main module again, and one decoder that crashes breaks
the whole pool, where here it costs that image alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from gentool.console import Progress
from gentool.data.decoding.process import Process
from gentool.data.decoding.worker import DecodeJob, Item, Worker
from gentool.data.unfinished import Journal

SMALL, SMALL_BYTES = 1_000, 8 * 2**20
"""Up to so many images, and bytes in all, processes cost more than they save."""

_BATCH, _BATCH_BYTES = 256, 4 * 2**20
_MOST_PROCESSES = 32


@dataclass
class Decoded:
    """What the workers found; see `Worker.decode`. `bad` maps (split, row) to the reason."""

    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    bad: dict[tuple[str, int], str] = field(default_factory=dict)
    stop: list[Any] | None = None

    def add(self, answer: dict[str, Any]) -> None:
        self.sizes.update(answer["sizes"])
        self.modes.update(answer["modes"])
        self.frames += answer["frames"]
        self.bad.update({(split, row): reason for split, row, reason in answer["bad"]})
        self.stop = self.stop or answer["stop"]

    def to_json(self) -> dict[str, Any]:
        """The inverse of `add`: all of it as one answer."""
        bad = [[split, row, reason] for (split, row), reason in self.bad.items()]
        return {**vars(self), "bad": bad}


class DecodePool:
    """The processes of one decode; a context manager, which ends them.

    Args:
        images, size: about how many there will be, and the bytes of all files. For more than
            `SMALL` the processes start at once, to be ready when the files have been listed;
            fewer are decoded in this process.
    """

    def __init__(self, images: int, size: int) -> None:
        self.large = images > SMALL or size > SMALL_BYTES
        # Idle processes, the last used on top: the first few stay busy, the rest may never start.
        self._idle: queue.LifoQueue[Process] = queue.LifoQueue()
        for _ in range(_cores() if self.large else 0):
            self._idle.put(Process())

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().end()

    def decode(
        self,
        job: DecodeJob,
        items: Iterable[Item],
        total: int,
        progress: Progress,
        journal: Journal | None = None,
    ) -> Decoded:
        """Decode all items into the job's arrays; stops early where a worker says "stop".

        Args:
            items: taken one batch after the other, so a generator saves memory.
            total: how many there are.
            progress: called from this thread.
            journal: batches that it has are left out, and those done are added.
        """
        outcome, done = Decoded(), 0
        earlier = dict(journal.done) if journal else {}
        for answer in earlier.values():
            outcome.add(answer)
            done += sum(answer["sizes"].values()) + len(answer["bad"])
        batches = ((k, one) for k, one in enumerate(_batched(items)) if k not in earlier)
        answers = (self._spread if self.large else _here)(job, batches)
        with contextlib.closing(answers):
            for number, count, answer in answers:
                outcome.add(answer)
                done += count
                progress("decoding images", done, total)
                if outcome.stop:
                    break
                if journal:
                    journal.add(number, answer)
        return outcome

    def _spread(self, job: DecodeJob, batches: _Batches) -> _Answers:
        """The answers of all processes, as they come; each exchange has a thread of its own."""
        cores = _cores()
        with ThreadPoolExecutor(cores) as threads:
            running: dict[Future[_Answer], int] = {}

            def answers(done: Iterable[Future[_Answer]]) -> Iterator[tuple[int, int, Any]]:
                for one in done:
                    yield (running.pop(one), *one.result())

            try:
                for number, batch in batches:
                    running[threads.submit(self._exchange, job, batch)] = number
                    if len(running) > 2 * cores:  # one being decoded and one ready for each
                        yield from answers(wait(running, return_when=FIRST_COMPLETED).done)
                while running:
                    yield from answers(wait(running, return_when=FIRST_COMPLETED).done)
            finally:
                threads.shutdown(cancel_futures=True)

    def _exchange(self, job: DecodeJob, batch: list[Item]) -> _Answer:
        """Decode a batch in a process; where that dies, find out on which image."""
        answer = self._ask(job, batch)
        if answer is not None:
            return len(batch), answer
        if len(batch) == 1:
            only = batch[0]
            bad = [[only.split, only.row, "crashes the image decoder"]]
            return 1, {"sizes": {}, "modes": {}, "frames": 0, "bad": bad, "stop": None}
        outcome = Decoded()
        for item in batch:
            outcome.add(self._exchange(job, [item])[1])
        return len(batch), outcome.to_json()

    def _ask(self, job: DecodeJob, batch: list[Item]) -> dict[str, Any] | None:
        """A process's answer; None where it died. Where none can be had, this thread's own."""
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = Process()
        if process.has not in (None, job):  # it takes one job only
            process.end()
            process = Process()
        if process.has is None and not process.give(job):
            process.end()
            with contextlib.closing(Worker(job)) as worker:
                return worker.decode(batch)
        process.send(json.dumps(batch))
        answer = process.receive()
        if answer is None:
            process.end()
        else:
            self._idle.put(process)
        return answer


_Answer = tuple[int, dict[str, Any]]
"""How many images, and what `Worker.decode` says of them."""

_Answers = Generator[tuple[int, int, dict[str, Any]], None, None]
"""A batch's number, and its answer."""

_Batches = Iterator[tuple[int, list[Item]]]


def _here(job: DecodeJob, batches: _Batches) -> _Answers:
    with contextlib.closing(Worker(job)) as worker:
        for number, batch in batches:
            yield number, len(batch), worker.decode(batch)


def batching() -> list[int]:
    """What decides where a batch ends."""
    return [_BATCH, _BATCH_BYTES]


def _batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    load = 0
    for item in items:
        batch.append(item)
        load += item.size
        if len(batch) >= _BATCH or load >= _BATCH_BYTES:
            yield batch
            batch, load = [], 0
    if batch:
        yield batch


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    return min(os.cpu_count() or 1, _MOST_PROCESSES)
