"""Decoding many images on all cores; the parent's side of `gentool.data.worker`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gentool.data.dataset import Progress
from gentool.data.worker import Item, Job, Worker

SMALL = 1_000
"""Up to so many images, of `SMALL_BYTES` in all, processes cost more than they save."""
SMALL_BYTES = 8 * 2**20

_BATCH, _BATCH_BYTES = 256, 4 * 2**20
_MOST_PROCESSES = 32


@dataclass
class Outcome:
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


def decode_all(
    job: Job, items: Iterable[Item], total: int, small: bool, progress: Progress
) -> Outcome:
    """Decode all items into the job's arrays; stops early where a worker says "stop".

    Args:
        items: taken one batch after the other, so a generator saves memory.
        total: how many there are.
        small: decode in this process (see `SMALL`).
        progress: called from this thread.
    """
    batches = _Batches(items)
    return (_here if small else _spread)(job, batches, total, progress)


class _Batches:
    """An iterator of batches that several threads may draw from."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._batches = _batched(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[list[Item]]:
        return self

    def __next__(self) -> list[Item]:
        with self._lock:
            return next(self._batches)


def _here(job: Job, batches: _Batches, total: int, progress: Progress) -> Outcome:
    outcome, done = Outcome(), 0
    with contextlib.closing(Worker(job)) as worker:
        for batch in batches:
            outcome.add(worker.decode(batch))
            done += len(batch)
            progress("decoding images", done, total)
            if outcome.stop:
                break
    return outcome


def _spread(job: Job, batches: _Batches, total: int, progress: Progress) -> Outcome:
    answers: queue.SimpleQueue[tuple[int, dict[str, Any] | BaseException]] = queue.SimpleQueue()
    over = threading.Event()
    threads = [
        threading.Thread(target=_feed, args=(job, batches, answers, over), daemon=True)
        for _ in range(_cores())
    ]
    for thread in threads:
        thread.start()
    outcome, done = Outcome(), 0
    try:
        while done < total and not outcome.stop:
            count, answer = answers.get()
            if isinstance(answer, BaseException):
                raise answer
            outcome.add(answer)
            done += count
            progress("decoding images", done, total)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return outcome


def _feed(job: Job, batches: _Batches, answers: Any, over: threading.Event) -> None:
    """One thread: owns one process, gives it batches, hands on its answers."""
    child: subprocess.Popen[str] | None = None
    try:
        for batch in batches:
            if over.is_set():
                return
            child = child or _start(job)
            if child is None:  # processes are not to be had here, so this thread works itself
                with contextlib.closing(Worker(job)) as worker:
                    answers.put((len(batch), worker.decode(batch)))
                continue
            answer = _ask(child, batch)
            if answer is None:  # the process died: find out on which image
                _stop(child)
                child = None
                answer = _one_by_one(job, batch)
            answers.put((len(batch), answer))
    except BaseException as error:
        answers.put((0, error))
    finally:
        _stop(child)


def _one_by_one(job: Job, batch: list[Item]) -> dict[str, Any]:
    """Decode a batch that crashed a process, each image in its own exchange."""
    outcome, child = Outcome(), None
    for item in batch:
        child = child or _start(job)
        answer = _ask(child, [item]) if child else None
        if answer is None:
            _stop(child)
            child = None
            outcome.bad[item.split, item.row] = "crashes the image decoder"
            continue
        outcome.add(answer)
        if outcome.stop:
            break
    _stop(child)
    bad = [[split, row, reason] for (split, row), reason in outcome.bad.items()]
    return {**vars(outcome), "bad": bad}


def _start(job: Job) -> subprocess.Popen[str] | None:
    """A process that is ready for batches; None where none can be had."""
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        # -P: a file in the current folder must not stand in for a module. One thread each: the
        # processes are the parallelism.
        child = subprocess.Popen(
            [sys.executable or "python3", "-P", "-m", "gentool.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,  # JSON in ASCII, whatever the locale
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )
    except OSError:
        return None
    if _exchange(child, job.to_json()) != "ready\n":
        _stop(child)
        return None
    return child


def _ask(child: subprocess.Popen[str], batch: list[Item]) -> dict[str, Any] | None:
    """The answer to one batch; None when the process has died."""
    line = _exchange(child, json.dumps(batch))
    return json.loads(line) if line.endswith("\n") else None


def _exchange(child: subprocess.Popen[str], line: str) -> str:
    """Send a line, return the line that comes back; "" from a process that has died."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(line + "\n")
        child.stdin.flush()
        return child.stdout.readline()
    except OSError:
        return ""


def _stop(child: subprocess.Popen[str] | None) -> None:
    if child is None:
        return
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


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
