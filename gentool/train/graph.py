"""A player's update as a CUDA graph: captured once, replayed with new data in the same memory.

Launching a small model's kernels one by one costs more than running them. What a replay needs that
changes from step to step lives on the device: the batch is copied into fixed tensors, the counter
that keys the noise counts itself, and the learning rate is a tensor.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from gentool.model import Batch
from gentool.train.batches import Draw

WARM_UP = 3
"""Updates run as usual first: optimizers and libraries allocate their state in them."""


class Replayable(Protocol):
    """What `capture` returns: something that runs the captured work again."""

    def replay(self) -> None: ...


def capture_cuda(work: Callable[[], None]) -> Replayable:
    """Record `work` without running it; raises RuntimeError where it cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with _collector_at_rest(), _stream_kept(), torch.cuda.graph(graph):
        work()
    return graph


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Collect garbage now and not inside: freeing another graph's memory would end a capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _stream_kept() -> Iterator[None]:
    """Return to the current stream; a capture that fails to end leaves its own behind."""
    stream = torch.cuda.current_stream()
    try:
        yield
    finally:
        torch.cuda.set_stream(stream)


class CapturedUpdate:
    """Runs `update` on batches of one shape through a graph, once it is warm."""

    def __init__(
        self,
        update: Callable[[Draw], None],
        capture: Callable[[Callable[[], None]], Replayable] = capture_cuda,
    ) -> None:
        """
        Args:
            update: the device's part of an update; host state must not change in it.
            capture: what records it; tests give a stand-in.
        """
        self.update, self.capture = update, capture
        self.runs = self._largest = 0
        self.failure: str | None = None
        self.told = False  # whether the failure is in the log
        self._fixed: Draw | None = None
        self._graph: Replayable | None = None

    def __call__(self, draw: Draw) -> None:
        """Replay where possible; ragged batches, the first few and failures run as usual."""
        if self._fixed is not None and _same_shape(self._fixed, draw):
            _copy(draw.batch, self._fixed.batch)
            assert self._graph is not None
            self._graph.replay()
            return
        # Not the ragged last batch of an epoch: the full ones are what comes again and again.
        self._largest = max(self._largest, draw.total)
        ready = self.runs >= WARM_UP and draw.total == self._largest
        if self._fixed is None and self.failure is None and ready:
            self._record(draw)
            if self._fixed is not None:
                self(draw)
                return
        self.update(draw)
        self.runs += 1

    def _record(self, draw: Draw) -> None:
        fixed = Draw(_clone(draw.batch), draw.offset, draw.total)
        try:
            self._graph = self.capture(lambda: self.update(fixed))
            self._fixed = fixed
        except RuntimeError as error:
            self.failure = str(_first_cause(error)).splitlines()[0]

    @property
    def state(self) -> str:
        """How updates run: "captured", "not captured yet", or why they are not captured."""
        if self.failure is not None:
            return f"not captured: {self.failure}"
        return "captured" if self._fixed is not None else "not captured yet"


def _first_cause(error: BaseException) -> BaseException:
    """What failed inside a capture; ending the capture then fails too, and says less."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error


def _clone(batch: Batch) -> Batch:
    return Batch(*(None if t is None else t.clone() for t in _tensors(batch)))  # type: ignore[arg-type]


def _copy(source: Batch, target: Batch) -> None:
    for a, b in zip(_tensors(source), _tensors(target), strict=True):
        if a is not None and b is not None:
            b.copy_(a, non_blocking=True)


def _tensors(batch: Batch) -> tuple[Tensor | None, ...]:
    return batch.x, batch.labels, batch.pixels, batch.attributes


def _same_shape(a: Draw, b: Draw) -> bool:
    return (a.offset, a.total, a.batch.x.shape) == (b.offset, b.total, b.batch.x.shape)
