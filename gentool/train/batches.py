"""From a data split to batches on the device: whole batches at a time, no per-sample Python."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentool.data.dataset import Split
from gentool.model import Batch
from gentool.noise import Noise
from gentool.ops.noise import permutation
from gentool.train import prefetch
from gentool.train.distributed import World


@dataclass(frozen=True)
class Draw:
    """This process's share of one training batch.

    Attributes:
        batch: its rows.
        offset: the index of its first row in the whole batch.
        total: the rows of the whole batch, over all processes.
    """

    batch: Batch
    offset: int
    total: int


DEVICE_SHARE = 0.5
"""The share of free device memory that a resident data set may take."""

LARGE = 2**28
"""Bytes of a mapped file from which batches are gathered ahead on the CPU. Smaller ones are soon
in memory whole, and reading a batch from there costs less than handing it between threads."""

SOME = 2**25
"""The most values that `some_examples` looks at: 10,000 images of 32×32×3, 128 MB as floats."""


class Order:
    """Which rows a step's batch is made of: a function of the seed and the step."""

    def __init__(self, n: int, size: int, per_epoch: int, seed: int, world: World) -> None:
        """`n` examples in batches of `size`, `per_epoch` of them a pass, shared by the world."""
        self.n, self.size, self.per_epoch = n, size, per_epoch
        self.seed, self.world = seed, world
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def share(self, step: int) -> tuple[slice, int]:
        """This process's part of the batch of `step`, and how large the whole batch is."""
        total = min(self.size, self.n - step % self.per_epoch * self.size)
        return self.world.share(total), total

    def rows(self, step: int, device: torch.device | str = "cpu") -> Tensor:
        """The rows of that part, int64. An epoch's batches are disjoint, and so are the shares."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = permutation(self.n, self.seed, epoch).to(device)
            self._epoch = epoch
        share, _ = self.share(step)
        start = position * self.size
        return self._order[start + share.start : start + share.stop]


class BatchLoader:
    """The batches of a split, in an order that is a function of (seed, epoch).

    Data that fits on a CUDA device lies there. What does not, and large mapped files elsewhere,
    is gathered a few batches ahead by a thread (`gentool.train.prefetch`); batches are the same.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        *,
        seed: int = 0,
        drop_last: bool = False,
        flip: bool = False,
        world: World | None = None,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.layout = layout
        self.world = world or World(device)
        self.n = len(split.x)
        self.batch_size = min(batch_size, self.n)
        self.device, self.seed, self.flip = device, seed, flip
        self.x = _place(as_tensor(split.x), device)
        self.labels = None if split.labels is None else as_tensor(split.labels).to(device)
        values = split.attributes
        self.attributes = None if values is None else as_tensor(values).to(device)
        whole = self.n // self.batch_size
        self.per_epoch = whole if drop_last else math.ceil(self.n / self.batch_size)
        self.order = Order(self.n, self.batch_size, self.per_epoch, seed, self.world)
        self._ahead = self._prefetcher(split.x)

    def _prefetcher(self, source: np.ndarray) -> prefetch.Prefetcher | None:
        """What gathers batches ahead, where that pays.

        It keeps no reference to this loader: its thread ends when the loader is collected.
        """
        size = math.ceil(self.batch_size / self.world.size)  # of any share, a ragged one's too
        if self.device.type == "cuda":
            if self.x.is_cuda:
                return None
            return prefetch.to_cuda(source, self.order.rows, size, self.device)
        if isinstance(source, np.memmap) and source.nbytes >= LARGE:
            return prefetch.to_host(source, self.order.rows, size)
        return None

    def at(self, step: int) -> Draw:
        """The batch of training step `step` (counted from 0 over all epochs), shuffled.

        Any step may be asked for; the ones after it are quickest to get. Raises what reading the
        data raised, be it ahead of time.
        """
        if self._ahead is None:
            rows = self.order.rows(step, self.x.device)
            x = self.x.index_select(0, rows)
        else:
            x, rows = self._ahead.take(step)
        batch = self._batch(x, rows)
        share, total = self.order.share(step)
        if self.flip:
            batch = self._flipped(batch, step, share.start)
        return Draw(batch, share.start, total)

    def close(self) -> None:
        """End the thread that gathers ahead, where there is one; `at` would start it again."""
        if self._ahead is not None:
            self._ahead.close()

    def in_order(self, start: int, stop: int) -> Batch:
        """Rows start … stop-1 as they are, for evaluation."""
        rows = torch.arange(start, stop, device=self.x.device)
        return self._batch(self.x[start:stop], rows)

    def _batch(self, x: Tensor, rows: Tensor) -> Batch:
        x = x.to(self.device, non_blocking=True)
        if x.dim() == 4:  # as bytes, where it is cheapest
            x = x.contiguous(memory_format=self.layout)
        labels, attributes = (
            None if known is None else known.index_select(0, rows.to(known.device))
            for known in (self.labels, self.attributes)
        )
        if x.dtype == torch.uint8:
            return Batch(torch.true_divide(x, 255), labels, x, attributes)
        return Batch(x, labels, attributes=attributes)

    def _flipped(self, batch: Batch, step: int, offset: int) -> Batch:
        """Mirror each image with probability ½, by a draw of its own for every step."""
        key = torch.full((), step, device=self.device)
        noise = Noise(self.seed, "data", key, self.device, row_offset=offset)
        u = noise.uniform("flip", (len(batch.x), 1, 1, 1))
        mirrored = u < 0.5
        pixels = batch.pixels
        if pixels is not None:
            pixels = torch.where(mirrored, pixels.flip(-1), pixels)
        x = torch.where(mirrored, batch.x.flip(-1), batch.x)
        return dataclasses.replace(batch, x=x, pixels=pixels)


def as_tensor(array: np.ndarray) -> Tensor:
    """A data set's array as a tensor, without a copy; not to be written to."""
    with warnings.catch_warnings():  # memory-mapped data is read-only, and stays unwritten
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def some_examples(split: Split, n: int) -> Tensor:
    """Up to n examples spread evenly over the split, as a model sees them.

    Spread, because a folder's images come sorted by class; of large images fewer than n, so
    that they take 128 MB at most.
    """
    a_size = math.prod(split.x.shape[1:])
    count = min(n, len(split.x), max(1, SOME // max(1, a_size)))
    rows = torch.arange(count) * len(split.x) // max(1, count)
    x = as_tensor(split.x).index_select(0, rows)
    return torch.true_divide(x, 255) if x.dtype == torch.uint8 else x


def _place(x: Tensor, device: torch.device) -> Tensor:
    """Keep the data on the device where it fits well, else where it is (memory or a file)."""
    if device.type != "cuda":
        return x
    free, _ = torch.cuda.mem_get_info(device)
    return x.to(device) if x.numel() * x.element_size() < DEVICE_SHARE * free else x
