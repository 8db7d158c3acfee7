"""Training on several processes under `torchrun`: gradients averaged, data and noise shared out.

Rank r of N takes its share of rows of every batch, with the same data and the same rows of noise
that one process with the whole batch would use. DistributedDataParallel is not used: it fits
neither several players nor a gradient penalty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor

from gentool.errors import UserError, printable

BUCKET = 32 * 2**20
"""Bytes of gradient that travel together."""

LONGEST = 4096
"""Bytes of a text that goes from one process to the others: the longest path of Linux."""

AGREE_EVERY = 10
"""Steps between the processes' asking each other whether one was told something."""


class World:
    """The processes that train together; alone, every method is free."""

    def __init__(self, device: torch.device, rank: int = 0, size: int = 1) -> None:
        self.device, self.rank, self.size = device, rank, size

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This rank's rows of a batch of n: contiguous, sizes differing by one at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Sum over the ranks, in place, in flat buckets of one dtype each."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([t.reshape(-1) for t in bucket])
            dist.all_reduce(flat)
            for t, summed in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                t.copy_(summed.view_as(t))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum gradients; each rank scaled its loss by its share of the batch, so this averages.

        A rank without rows, or a parameter the loss did not reach, counts as zero.
        """
        if self.size == 1:
            return
        for p in (parameters := list(parameters)):
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.sum_([p.grad for p in parameters if p.grad is not None])

    def average_buffers(self, module: torch.nn.Module) -> None:
        """Average running statistics, so that every rank holds the same model after every step."""
        if self.size == 1:
            return
        buffers = [b for b in module.buffers() if b.is_floating_point()]
        self.sum_(buffers)
        for b in buffers:
            b.div_(self.size)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any rank."""
        if self.size == 1:
            return flag
        value = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def agrees(self, step: int, flag: bool) -> bool:
        """Whether `flag` is set on any rank, which several ask each other only every few steps."""
        if self.size == 1:
            return flag
        return step % AGREE_EVERY == 0 and self.any(flag)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every rank, in order; all have the same shape."""
        if self.size == 1:
            return [tensor]
        there = tensor.to(self.device)
        parts = [torch.empty_like(there) for _ in range(self.size)]
        dist.all_gather(parts, there)
        return [p.to(tensor.device) for p in parts]

    def from_main(self, text: str) -> str:
        """The main process's `text`, of at most `LONGEST` bytes, on every process."""
        if self.size == 1:
            return text
        raw = os.fsencode(text)
        sent = torch.zeros(LONGEST + 8, dtype=torch.uint8)
        sent[:8] = torch.tensor(list(len(raw).to_bytes(8, "little")), dtype=torch.uint8)
        sent[8 : 8 + len(raw)] = torch.tensor(list(raw), dtype=torch.uint8)
        there = sent.to(self.device)
        dist.broadcast(there, src=0)
        got = bytes(there.tolist())
        return os.fsdecode(got[8 : 8 + int.from_bytes(got[:8], "little")])

    def barrier(self) -> None:
        """Wait for all at the end, so that none takes its connections from under another."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let rank 0 through, then the others: one process decodes or downloads, all read."""
        if self.size > 1 and not self.is_main:
            dist.barrier()
        yield
        if self.size > 1 and self.is_main:
            dist.barrier()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors by dtype into lists of at most `BUCKET` bytes, in a fixed order."""
    for _, group in groupby(sorted(tensors, key=lambda t: str(t.dtype)), key=lambda t: t.dtype):
        bucket: list[Tensor] = []
        size = 0
        for t in group:
            if bucket and size + t.numel() * t.element_size() > BUCKET:
                yield bucket
                bucket, size = [], 0
            bucket.append(t)
            size += t.numel() * t.element_size()
        if bucket:
            yield bucket


def world_size() -> int:
    """How many processes torchrun started; raises UserError where its variable makes no sense."""
    return _number("WORLD_SIZE", 1)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", text) or (name == "WORLD_SIZE" and int(text) < 1):
        raise UserError(
            f"the variable {name} is {printable(text)!r}, which is no number of torchrun's; start "
            "with torchrun, which sets it, or unset it"
        )
    return int(text)


def launched() -> bool:
    """Whether torchrun started this process together with others."""
    return world_size() > 1


def join(device: torch.device) -> World:
    """Join the processes that torchrun started; alone, a world of one.

    Raises UserError where they cannot be reached.
    """
    if not launched():
        return World(device)
    if device.type == "cuda":
        device = torch.device("cuda", _number("LOCAL_RANK", 0))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
    except (ValueError, RuntimeError) as error:
        raise UserError(_unreachable(str(error))) from error
    return World(device, dist.get_rank(), dist.get_world_size())


def _unreachable(reason: str) -> str:
    """A sentence on why the processes found no way to each other."""
    if "EADDRINUSE" in reason or "address already in use" in reason.lower():
        port = printable(os.environ.get("MASTER_PORT", "29500"), 20)
        return (
            f"the port {port}, by which the processes meet, is in use; give torchrun another with "
            "--master-port, or end the program that has it"
        )
    first = printable(reason.strip().splitlines()[0] if reason.strip() else "no reason given", 200)
    return f"the processes did not find each other ({first}); start them all with torchrun"


def leave() -> None:
    """Leave the process group, where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
