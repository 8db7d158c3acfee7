"""All pairs of two point sets, tile by tile, so that memory does not grow with their product.

A tile holds squared distances: exact ones (`Differences`), or their ranks by one matrix product
with a bound on the rounding (`Products`). Which of them a question needs is `knn`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from gentool.metrics.threads import each

ROWS, COLUMNS = 128, 4096
"""A tile on the CPU: 2 MB of float32, so that it stays in the cache."""

GPU_ROWS, GPU_COLUMNS = 8192, 16384
"""On a GPU launches cost more than memory."""

GROUP = 32
PAIRS = 2**21
"""Values of pairs that are differenced at a time."""

T = TypeVar("T")


class Tiles:
    """‖a_i − b_j‖² over blocks of rows and columns."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        """a: float (n, d); b: float (m, d), on one device."""
        self.a, self.b = a, b
        self.on_cpu = a.device.type == "cpu"

    def tile(self, rows: slice, columns: slice) -> Tensor:
        raise TypeError(f"{type(self).__name__} has no tile()")

    def each_block(self, function: Callable[[slice], T]) -> Iterator[T]:
        """`function` of each block of rows, in order; several at a time on the CPU."""
        size = ROWS if self.on_cpu else GPU_ROWS
        return each(function, list(blocks(len(self.a), size)), self.a.device)

    def tiles(self, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        for columns in blocks(len(self.b), COLUMNS if self.on_cpu else GPU_COLUMNS):
            yield columns, self.tile(rows, columns)

    def smallest(self, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """The k smallest entries of every row, in any order: values and columns, each (n, k).

        Args:
            own: int64 (n,), the column of each row that does not count; None for none.
        """
        found: list[tuple[Tensor, Tensor]] = []

        def search(rows: slice) -> tuple[Tensor, Tensor]:
            values, indices = [], []
            for columns, tile in self.tiles(rows):
                if own is not None:
                    _mask(tile, own[rows], columns)
                best, where = _smallest(tile, min(k, tile.shape[1]))
                values.append(best)
                indices.append(where + columns.start)
            best, where = torch.cat(values, 1).topk(k, largest=False, sorted=False)
            return best, torch.cat(indices, 1).gather(1, where)

        found.extend(self.each_block(search))
        return torch.cat([v for v, _ in found]), torch.cat([c for _, c in found])


class Differences(Tiles):
    """Squared distances from differences in float64: exact but for the last bits, d passes a tile.

    The same pair has the same value in whatever tile it stands, to the bit.
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__(a.double(), b.double())
        self.columns = self.b.T.contiguous()

    def tile(self, rows: slice, columns: slice) -> Tensor:
        total = self.a.new_zeros((rows.stop - rows.start, columns.stop - columns.start))
        for left, right in zip(self.a[rows].T, self.columns[:, columns], strict=True):
            difference = left.unsqueeze(1) - right
            total += difference.mul_(difference)  # not fused: every entry is rounded alike
        return total


class Products(Tiles):
    """‖b‖² − 2 a·b by one matrix product: squared distances up to the constant ‖a‖².

    Attributes:
        square: ‖a‖², float64 (n,).
        error: how far a tile's entry may be from ‖a − b‖² − ‖a‖². A dot product of d + 1 terms
            is off by (d + 1)·u·Σ|terms| at most (Higham 2002, section 3.1), u the unit roundoff;
            the rest is for rounding what goes in and what it is compared with.
    """

    def __init__(self, a: Tensor, b: Tensor, dtype: torch.dtype) -> None:
        super().__init__(a, b)
        a, b = a.double(), b.double()
        centre = b.mean(0)  # the smaller the norms, the less is cancelled
        a, b = a - centre, b - centre
        squares = b.square().sum(1, keepdim=True)
        self.square = a.square().sum(1)
        self.left = torch.cat([-2 * a, a.new_ones(len(a), 1)], 1).to(dtype)
        self.right = torch.cat([b, squares], 1).to(dtype)
        reach = (float(self.square.max().sqrt()) + float(squares.max().sqrt())) ** 2
        self.error = (a.shape[1] + 24) * torch.finfo(dtype).eps / 2 * reach

    def tile(self, rows: slice, columns: slice) -> Tensor:
        return self.left[rows] @ self.right[columns].T


def squared(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i − b_i‖² of pairs, from differences in float64: (n, d) and (n, d) → (n,)."""
    return (a.double() - b.double()).square().sum(1)


def squared_to(a: Tensor, b: Tensor, columns: Tensor) -> Tensor:
    """‖a_i − b_c‖² of every row i and each c of columns (n, k): float64 (n, k)."""
    k, d = columns.shape[1], max(1, a.shape[1])
    result = torch.empty(columns.shape, dtype=torch.float64, device=a.device)
    for rows in blocks(len(a), max(1, PAIRS // (k * d))):
        chosen = columns[rows].flatten()
        result[rows] = squared(a[rows].repeat_interleave(k, 0), b[chosen]).view(-1, k)
    return result


def blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def _mask(tile: Tensor, own: Tensor, columns: slice) -> None:
    """Put a point out of its own reach."""
    inside = ((own >= columns.start) & (own < columns.stop)).nonzero().squeeze(1)
    tile[inside, own[inside] - columns.start] = torch.inf


def _smallest(tile: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row: values and columns, each (rows, k), in any order.

    They lie in the k groups of columns with the smallest minima, and minima are cheap; a sort
    of whole rows would cost more than the matrix product.
    """
    rows, width = tile.shape
    groups = width // GROUP
    if groups * GROUP != width or groups <= k:
        best = tile.topk(k, largest=False, sorted=False)
        return best.values, best.indices
    # Group g holds the columns g, g + groups, …: the minimum runs over rows of memory.
    by_group = tile.view(rows, GROUP, groups)
    chosen = by_group.amin(1).topk(k, largest=False, sorted=False).indices
    steps = torch.arange(GROUP, device=tile.device) * groups
    columns = (chosen.unsqueeze(2) + steps).flatten(1)
    best = tile.gather(1, columns).topk(k, largest=False, sorted=False)
    return best.values, columns.gather(1, best.indices)
