"""Decoding many images on all cores; the parent's side of `gentool.data.decoding.worker`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gentool.console import Progress
from gentool.data.decoding.process import Process
from gentool.data.decoding.worker import DecodeJob, Item, Worker

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


class DecodePool:
    """The processes of one decode; a context manager, which ends them.

    Args:
        images, size: about how many there will be, and the bytes of all files. For more than
            `SMALL` the processes start at once, to be ready when the files have been listed;
            fewer are decoded in this process.
    """

    def __init__(self, images: int, size: int) -> None:
        self._large = images > SMALL or size > SMALL_BYTES
        self._spare = [Process() for _ in range(_cores())] if self._large else []

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        while self._spare:
            self._spare.pop().end()

    def decode(
        self, job: DecodeJob, items: Iterable[Item], total: int, progress: Progress
    ) -> Decoded:
        """Decode all items into the job's arrays; stops early where a worker says "stop".

        Args:
            items: taken one batch after the other, so a generator saves memory.
            total: how many there are.
            progress: called from this thread.
        """
        batches = _Batches(items)
        answers = self._spread(job, batches, total) if self._large else _here(job, batches)
        outcome, done = Decoded(), 0
        with contextlib.closing(answers):
            for count, answer in answers:
                outcome.add(answer)
                done += count
                progress("decoding images", done, total)
                if outcome.stop:
                    break
        return outcome

    def _spread(self, job: DecodeJob, batches: _Batches, total: int) -> _Answers:
        """The answers of all processes, as they come; each is fed by a thread of its own."""
        answers: _Queue = queue.SimpleQueue()
        over = threading.Event()
        threads = [
            threading.Thread(target=self._feed, args=(job, batches, answers, over), daemon=True)
            for _ in range(_cores())
        ]
        for thread in threads:
            thread.start()
        done = 0
        try:
            while done < total:
                count, answer = answers.get()
                if isinstance(answer, BaseException):
                    raise answer
                yield count, answer
                done += count
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _feed(
        self, job: DecodeJob, batches: _Batches, answers: _Queue, over: threading.Event
    ) -> None:
        process: Process | None = None
        try:
            batch = batches.take()
            while batch is not None and not over.is_set():
                process = process or self._ready(job)
                if process is None:  # none is to be had here, so this thread works itself
                    with contextlib.closing(Worker(job)) as worker:
                        answers.put((len(batch.items), worker.decode(batch.items)))
                    batch = batches.take()
                    continue
                process.send(batch.text)
                following = batches.take()  # made ready while the process works
                answer = process.receive()
                if answer is None:  # it died: find out on which image
                    process.end()
                    process = None
                    answer = self._one_by_one(job, batch.items)
                answers.put((len(batch.items), answer))
                batch = following
        except BaseException as error:
            answers.put((0, error))
        finally:
            if process is not None:
                process.end()

    def _one_by_one(self, job: DecodeJob, batch: list[Item]) -> dict[str, Any]:
        """Decode a batch that crashed a process, each image in its own exchange."""
        outcome = Decoded()
        process: Process | None = None
        for item in batch:
            process = process or self._ready(job)
            answer = None
            if process is not None:
                process.send(json.dumps([item]))
                answer = process.receive()
            if answer is not None:
                outcome.add(answer)
                continue
            outcome.bad[item.split, item.row] = "crashes the image decoder"
            if process is not None:
                process.end()
                process = None
        if process is not None:
            process.end()
        bad = [[split, row, reason] for (split, row), reason in outcome.bad.items()]
        return {**vars(outcome), "bad": bad}

    def _ready(self, job: DecodeJob) -> Process | None:
        """A process that has the job; None where none can be had."""
        try:
            process = self._spare.pop()
        except IndexError:
            process = Process()
        if process.give(job):
            return process
        process.end()
        return None


_Queue = queue.SimpleQueue[tuple[int, dict[str, Any] | BaseException]]
_Answers = Generator[tuple[int, dict[str, Any]], None, None]


def _here(job: DecodeJob, batches: _Batches) -> _Answers:
    with contextlib.closing(Worker(job)) as worker:
        while (batch := batches.take()) is not None:
            yield len(batch.items), worker.decode(batch.items)


class _Batch(NamedTuple):
    items: list[Item]
    text: str  # the same as JSON


class _Batches:
    """Batches of items, from which several threads may take."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._batches = _batched(items)
        self._lock = threading.Lock()

    def take(self) -> _Batch | None:
        with self._lock:
            items = next(self._batches, None)
        return None if items is None else _Batch(items, json.dumps(items))


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
