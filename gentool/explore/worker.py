"""One thread computes, so that a model is never asked twice at once and cores are not fought for.

A question has a key: who asks, and for what. A newer question of one key takes the place of the
one that still waits, so that no queue grows however fast somebody drags. Long work goes in a second
line and lets the short questions pass between its steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_WAITING = 64

Produce = Callable[[], Iterator[bytes]]
"""Makes the frames of an answer, one after the other."""


class SupersededError(Exception):
    """A newer question of the same key came, or nobody listens any more."""


class BusyError(Exception):
    """Too many questions wait."""


@dataclass(eq=False)
class Job:
    """A question that waits or is being answered; frames arrive in `frames`, None ends them."""

    key: Any
    produce: Produce
    loop: asyncio.AbstractEventLoop
    long: bool
    frames: asyncio.Queue[bytes | BaseException | None] = field(default_factory=asyncio.Queue)
    dropped: threading.Event = field(default_factory=threading.Event)

    def put(self, item: bytes | BaseException | None) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.frames.put_nowait, item)


class Worker:
    """The thread, and what waits for it."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Any, Job] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._current: Job | None = None
        self._long: Job | None = None
        self._thread = threading.Thread(target=self._work, name="explore", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, key: Any, produce: Produce, long: bool = False) -> Job:
        """Queue a question; called on the event loop. Raises BusyError."""
        job = Job(key, produce, asyncio.get_running_loop(), long)
        with self._changed:
            older = self._waiting.pop(key, None)
            if older is None and len(self._waiting) >= MOST_WAITING:
                raise BusyError
            if older is not None:
                older.put(SupersededError())
            if self._long is not None and self._long.key == key:
                self._long.dropped.set()
            self._waiting[key] = job
            self._changed.notify()
        return job

    def breathe(self) -> None:
        """Called by long work now and then, in this thread: lets short questions pass.

        Raises:
            SupersededError: where nobody waits for the long work any more.
        """
        long = self._current
        if long is None or not long.long or threading.current_thread() is not self._thread:
            return
        if long.dropped.is_set() or self._closed:
            raise SupersededError
        while (job := self._next(short_only=True)) is not None:
            self._answer(job)
        self._current = long

    def tell(self, frame: bytes) -> None:
        """Called by long work, in this thread: send a frame of its answer before it returns."""
        if self._current is not None and threading.current_thread() is self._thread:
            self._current.put(frame)

    def close(self) -> None:
        """Take no more; what runs is left to end with the process."""
        with self._changed:
            self._closed = True
            for job in self._waiting.values():
                job.put(SupersededError())
            self._waiting.clear()
            self._changed.notify()

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
            job = self._next()
            if job is not None:
                self._answer(job)

    def _next(self, short_only: bool = False) -> Job | None:
        """The oldest short question, else the oldest long one."""
        with self._changed:
            for long in (False,) if short_only else (False, True):
                for key, job in self._waiting.items():
                    if job.long is long:
                        del self._waiting[key]
                        return job
        return None

    def _answer(self, job: Job) -> None:
        self._current = job
        if job.long:
            self._long = job
        try:
            for part in job.produce():
                job.put(part)
                if job.dropped.is_set():
                    break
                self.breathe()
            job.put(None)
        except BaseException as error:
            job.put(error)
        finally:
            self._current = None
            if job.long:
                self._long = None
