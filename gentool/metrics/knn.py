"""Exact nearest neighbours and ball counts by matrix products, in bounded memory.

‖a − b‖² = ‖a‖² − 2 a·b + ‖b‖²: with a row of b's norms appended, one matrix product gives a tile
of distances, ranked up to the constant ‖a‖². A tile is small enough to stay in the cache, so the
memory needed does not grow with the product of the two sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gentool.metrics.threads import each

ROWS, COLUMNS = 128, 4096
"""A tile of distances on the CPU: 2 MB of float32."""

GPU_ROWS, GPU_COLUMNS = 8192, 16384
"""On a GPU launches cost more than memory."""

GROUP = 32
T = TypeVar("T")


def nearest(a: Tensor, b: Tensor, k: int, *, itself: bool = False) -> tuple[Tensor, Tensor]:
    """The k points of b nearest to each point of a.

    The candidates are found by matrix products; their distances are then computed anew from
    differences, so that near-duplicates do not suffer from cancellation.

    Args:
        a: float32 (n, d); b: float32 (m, d), on one device.
        k: from 1 to m (to m − 1 with `itself`).
        itself: a is b, and no point counts as its own neighbour.

    Returns:
        distances float32 (n, k), ascending, and indices into b, int64 (n, k).

    Raises:
        ValueError: where b has not enough points.
    """
    if not 1 <= k <= len(b) - itself:
        raise ValueError(f"{len(b)} points have no {k} nearest neighbours")
    found = torch.empty((len(a), k), dtype=torch.int64, device=a.device)
    ranked = _Tiles(a, b)

    def search(rows: slice) -> None:
        values, indices = [], []
        for columns, tile in ranked.tiles(rows):
            if itself:
                _mask_diagonal(tile, rows, columns)
            best, where = _smallest(tile, min(k, tile.shape[1]))
            values.append(best)
            indices.append(where + columns.start)
        candidates = torch.cat(values, 1).topk(k, largest=False, sorted=False).indices
        found[rows] = torch.cat(indices, 1).gather(1, candidates)

    for _ in ranked.each_block(search):
        pass
    return _exact(a, b, found)


def radii(x: Tensor, k: int) -> Tensor:
    """Each point's distance to its k-th nearest other point: float32 (n,)."""
    return nearest(x, x, k, itself=True)[0][:, -1].contiguous()


@dataclass(frozen=True)
class Balls:
    """How two point sets lie in each other's k-NN balls.

    Attributes:
        real_around: int64 (m,), for each fake the number of real balls that hold it.
        in_fake: bool (n,), whether each real point lies in some fake ball.
        reached: bool (n,), whether each real ball holds some fake point.
    """

    real_around: Tensor
    in_fake: Tensor
    reached: Tensor


def balls(real: Tensor, fake: Tensor, real_radius: Tensor, fake_radius: Tensor) -> Balls:
    """Count, in one pass over all pairs, who lies within whose radius.

    Args:
        real: float32 (n, d); fake: float32 (m, d).
        real_radius: (n,); fake_radius: (m,).
    """
    n, m = len(real), len(fake)
    around = torch.zeros(m, dtype=torch.int64, device=real.device)
    in_fake = torch.zeros(n, dtype=torch.bool, device=real.device)
    reached = torch.zeros(n, dtype=torch.bool, device=real.device)
    pairs = _Tiles(real, fake)

    def count(rows: slice) -> Tensor:
        # Tiles lack ‖a‖², so it moves to the other side of each comparison.
        square = pairs.square[rows]
        within = (real_radius[rows].square() - square).unsqueeze(1)
        holders = torch.empty(m, dtype=torch.int64, device=real.device)
        for columns, tile in pairs.tiles(rows):
            held = tile <= within
            holders[columns] = held.sum(0)
            reached[rows] |= held.any(1)
            in_fake[rows] |= (tile - fake_radius[columns].square()).amin(1) <= -square
        return holders

    for holders in pairs.each_block(count):
        around += holders
    return Balls(around, in_fake, reached)


class _Tiles:
    """‖b‖² − 2 a·b, tile by tile, after moving the origin into the middle of b."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        # Distances are differences of norms: the smaller the norms, the less is cancelled.
        centre = b.mean(0)
        a, b = a - centre, b - centre
        self.square = a.square().sum(1)
        self.left = torch.cat([-2 * a, a.new_ones(len(a), 1)], 1)
        self.right = torch.cat([b, b.square().sum(1, keepdim=True)], 1)
        self.on_cpu = a.device.type == "cpu"

    def each_block(self, function: Callable[[slice], T]) -> Iterator[T]:
        """`function` of each block of rows, in order."""
        rows = ROWS if self.on_cpu else GPU_ROWS
        return each(function, list(_blocks(len(self.left), rows)), self.left.device)

    def tiles(self, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        for columns in _blocks(len(self.right), COLUMNS if self.on_cpu else GPU_COLUMNS):
            yield columns, self.left[rows] @ self.right[columns].T


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def _mask_diagonal(tile: Tensor, rows: slice, columns: slice) -> None:
    """Put a point out of its own reach."""
    first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
    if first < last:
        i = torch.arange(first, last, device=tile.device)
        tile[i - rows.start, i - columns.start] = torch.inf


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


def _exact(a: Tensor, b: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the neighbours that were found, from differences, in ascending order."""
    k, d = found.shape[1], max(1, a.shape[1])
    distances = torch.empty(found.shape, dtype=a.dtype, device=a.device)
    for rows in _blocks(len(a), max(1, 2**21 // (k * d))):
        distances[rows] = (a[rows].unsqueeze(1) - b[found[rows]]).square().sum(2).sqrt()
    order = distances.argsort(dim=1, stable=True)
    return distances.gather(1, order), found.gather(1, order)
