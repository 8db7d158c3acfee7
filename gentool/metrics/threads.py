"""One parallel region for a whole computation, instead of one for each small operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def each(function: Callable[[A], B], items: Sequence[A], device: torch.device) -> Iterator[B]:
    """`function` of each item, without gradients; yields results in order.

    On the CPU every thread has items of its own and computes them alone: operations of a
    millisecond gain little from two threads, and lose much where other processes want the cores.
    Elsewhere one after the other.
    """

    def without_gradients(item: A) -> B:
        with torch.no_grad():  # of this thread
            return function(item)

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or len(items) < 2:
        yield from map(without_gradients, items)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(without_gradients, items)
    finally:
        torch.set_num_threads(threads)
