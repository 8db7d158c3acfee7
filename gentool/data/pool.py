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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gentool.data.dataset import Progress
from gentool.data.worker import Item, Job, Worker

SMALL = 1_000
"""Up to so many images, of `SMALL_BYTES` in all, processes cost more than they save."""
SMALL_BYTES = 8 * 2**20

_BATCH, _BATCH_BYTES = 256, 4 * 2**20


class _NoProcessError(Exception):
    """A worker process does not even start here."""


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
    job: Job,
    items: Sequence[Item],
    sizes: Sequence[int],
    progress: Progress,
    processes: int | None = None,
) -> Outcome:
    """Decode all items into the job's arrays; stops early where a worker says "stop".

    Args:
        sizes: bytes of each item's file, for even batches.
        progress: called from this thread.
        processes: 0 decodes here; None takes all cores, or none for a small job.
    """
    batches = list(_batches(items, sizes))
    if processes is None:
        small = len(items) <= SMALL and sum(sizes) <= SMALL_BYTES
        processes = 0 if small or not sys.executable else _cores()
    if processes > 0:
        with contextlib.suppress(_NoProcessError):
            return _spread(job, batches, len(items), progress, min(processes, len(batches)))
    return _here(job, batches, len(items), progress)


def _here(job: Job, batches: list[list[Item]], total: int, progress: Progress) -> Outcome:
    outcome, done = Outcome(), 0
    worker = Worker(job)
    with contextlib.closing(worker):
        for batch in batches:
            outcome.add(worker.decode(batch))
            done += len(batch)
            progress("decoding images", done, total)
            if outcome.stop:
                break
    return outcome


def _spread(
    job: Job, batches: list[list[Item]], total: int, progress: Progress, processes: int
) -> Outcome:
    todo: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, dict[str, Any] | BaseException]] = queue.SimpleQueue()
    for batch in batches:
        todo.put(batch)
    over = threading.Event()
    threads = [
        threading.Thread(target=_feed, args=(job, todo, answers, over), daemon=True)
        for _ in range(processes)
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


def _feed(job: Job, todo: Any, answers: Any, over: threading.Event) -> None:
    """One thread: owns one process, gives it batches, hands on its answers."""
    child: subprocess.Popen[str] | None = None
    try:
        while not over.is_set():
            try:
                batch = todo.get_nowait()
            except queue.Empty:
                return
            child = child or _start(job)
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
        answer = _ask(child, [item])
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


def _start(job: Job) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    # -P: a file in the current folder must not stand in for a module. One thread each: the
    # processes are the parallelism.
    child = subprocess.Popen(  # text: JSON in ASCII, whatever the locale
        [sys.executable, "-P", "-m", "gentool.data.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
    )
    if _exchange(child, job.to_json()) != "ready\n":
        _stop(child)
        raise _NoProcessError
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


def _batches(items: Sequence[Item], sizes: Sequence[int]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    load = 0
    for item, size in zip(items, sizes, strict=True):
        batch.append(item)
        load += size
        if len(batch) >= _BATCH or load >= _BATCH_BYTES:
            yield batch
            batch, load = [], 0
    if batch:
        yield batch


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
