"""Batches of data that does not lie where the model is, gathered ahead by one thread.

The thread touches host memory only. All that CUDA does is asked for by the thread that trains,
since a CUDA call from any other thread breaks the capture of a graph (`gentool.train.graph`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

AHEAD = 4
"""Batches that are gathered before they are asked for."""

MOST_BYTES = 2**28
"""Large batches are gathered fewer ahead, so that those waiting take no more than this."""

RowsOf = Callable[[int], Tensor]
"""From a step to the rows of its batch, int64 on the CPU; a function of the step alone."""


class Slot(Protocol):
    """Where one batch lies on its way to the device; used for one batch after another.

    `fill` runs in the gathering thread; `send`, then `wait`, in the training thread.
    """

    def fill(self, rows: Tensor) -> None:
        """Gather these rows."""

    def send(self) -> tuple[Tensor, Tensor]:
        """What was gathered, (n, …), and its rows, (n,), on the device."""

    def wait(self) -> None:
        """Return when `fill` can no longer harm what was sent."""


class HostSlot:
    """For a model in host memory: each batch has memory of its own, so none is overwritten."""

    def __init__(self, source: np.ndarray) -> None:
        self.source = source

    def fill(self, rows: Tensor) -> None:
        x = torch.empty((len(rows), *self.source.shape[1:]), dtype=_dtype(self.source))
        _gather(self.source, rows, x)
        self._filled = x, rows

    def send(self) -> tuple[Tensor, Tensor]:
        return self._filled

    def wait(self) -> None:
        pass


class PinnedSlot:
    """For a CUDA device: page-locked memory, from which it copies while the host goes on.

    Copies are queued on the stream that uses the batch, so its memory needs no `record_stream`;
    the event says when this memory has been read and may be filled again.
    """

    def __init__(self, source: np.ndarray, size: int, device: torch.device) -> None:
        """`size` is the most rows a batch can have."""
        self.source, self.device = source, device
        self._size, self._n = size, 0
        self._x = self._rows = torch.empty(0)
        self._copied = torch.cuda.Event(blocking=True)  # waits asleep, the gatherer needs the core

    def fill(self, rows: Tensor) -> None:
        self._n = len(rows)
        self._rows[: self._n] = rows
        _gather(self.source, rows, self._x[: self._n])

    def send(self) -> tuple[Tensor, Tensor]:
        x, rows = self._copy(self._x[: self._n]), self._copy(self._rows[: self._n])
        self._copied.record(torch.cuda.current_stream(self.device))
        return x, rows

    def wait(self) -> None:
        self._copied.synchronize()  # returns at once where nothing was recorded
        if not len(self._rows):  # the first time: a split that is only evaluated pins nothing
            shape, pin = (self._size, *self.source.shape[1:]), self.device.type == "cuda"
            self._x = torch.empty(shape, dtype=_dtype(self.source), pin_memory=pin)
            self._rows = torch.empty(self._size, dtype=torch.int64, pin_memory=pin)

    def _copy(self, pinned: Tensor) -> Tensor:
        return pinned.to(self.device, non_blocking=True, copy=True)


class _Staged(NamedTuple):
    step: int
    slot: Slot
    gathered: Future[None]


class Prefetcher:
    """Gathers the batches of the steps that follow the last one asked for.

    Its thread starts at the first `take` and ends with `close`, with this object, or with the
    interpreter, whichever comes first.
    """

    def __init__(self, rows_of: RowsOf, slots: list[Slot], ahead: int) -> None:
        """
        Args:
            rows_of: called in the gathering thread only.
            slots: at least `ahead`; what is over may still be copied from.
        """
        self._rows_of, self._ahead = rows_of, ahead
        self._free = deque(slots)
        self._staged: deque[_Staged] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of `step` and its rows, on the device. Raises what gathering it raised.

        Any step may be asked for; one that does not follow the last is gathered on the spot.
        """
        if not self._staged or self._staged[0].step != step:
            self._drop()
            self._stage_from(step)
        staged = self._staged.popleft()
        try:
            staged.gathered.result()
            return staged.slot.send()
        finally:
            self._free.append(staged.slot)
            self._stage_from(step + 1)

    def close(self) -> None:
        """End the thread; a later `take` starts another."""
        self._drop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _stage_from(self, step: int) -> None:
        """Have batches gathered until `ahead` of them, `step` the first, are under way."""
        # One thread: fills run in this order, also after one that `_drop` was too late to cancel.
        self._pool = self._pool or ThreadPoolExecutor(1, "gentool-prefetch")
        for following in range(step + len(self._staged), step + self._ahead):
            slot = self._free.popleft()  # the one sent longest ago
            slot.wait()
            # Neither holds this object, which could then not be collected while they wait.
            gathered = self._pool.submit(_fill, self._rows_of, following, slot)
            self._staged.append(_Staged(following, slot, gathered))

    def _drop(self) -> None:
        while self._staged:
            staged = self._staged.popleft()
            staged.gathered.cancel()
            self._free.append(staged.slot)


def to_host(source: np.ndarray, rows_of: RowsOf, size: int) -> Prefetcher:
    """For a model in host memory, or on a device that copies from there by itself."""
    ahead = _ahead(source, size)
    return Prefetcher(rows_of, [HostSlot(source) for _ in range(ahead)], ahead)


def to_cuda(source: np.ndarray, rows_of: RowsOf, size: int, device: torch.device) -> Prefetcher:
    """For a CUDA device. As many batches again may still be copied from, so the host runs up to
    that many steps ahead of the device without waiting."""
    ahead = _ahead(source, size)
    slots: list[Slot] = [PinnedSlot(source, size, device) for _ in range(2 * ahead)]
    return Prefetcher(rows_of, slots, ahead)


def _ahead(source: np.ndarray, size: int) -> int:
    a_batch = size * math.prod(source.shape[1:]) * source.itemsize
    return max(1, min(AHEAD, MOST_BYTES // max(1, a_batch)))


def _fill(rows_of: RowsOf, step: int, slot: Slot) -> None:
    slot.fill(rows_of(step))


def _gather(source: np.ndarray, rows: Tensor, out: Tensor) -> None:
    """Copy rows of `source` into `out`, with the interpreter's lock released."""
    # By numpy: torch's index_select would start a second team of OpenMP threads from this one.
    # mode "clip" writes straight to `out`, where "raise" goes through a buffer.
    np.take(source, rows.numpy(), axis=0, out=out.numpy(), mode="clip")


def _dtype(source: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, source.dtype)).dtype
