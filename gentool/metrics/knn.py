"""Exact nearest neighbours and ball counts, in bounded memory.

Every answer is that of float64 differences, whatever the data: where modes are narrow, the
rounding of a matrix product is as large as a distance. Up to `DIRECT` dimensions all pairs are
differenced. Beyond, products give candidates and a bound on their rounding; what the bound leaves
open is decided by differences, so that speed costs no exactness.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.metrics.tiles import PAIRS, Differences, Products, Tiles, blocks, squared, squared_to

DIRECT = 4
"""Up to so many dimensions differences cost about what products do."""

EXTRA = 2
"""Candidates beyond the k that are wanted: a gap behind the k-th shows that none is missing."""


def nearest(a: Tensor, b: Tensor, k: int, *, itself: bool = False) -> tuple[Tensor, Tensor]:
    """The k points of b nearest to each point of a.

    Args:
        a: float (n, d); b: float (m, d), on one device.
        k: from 1 to m (to m − 1 with `itself`).
        itself: a is b, and no point counts as its own neighbour.

    Returns:
        distances float64 (n, k), ascending, and indices into b, int64 (n, k).

    Raises:
        ValueError: where b has not enough points.
    """
    squares, found = nearest_squared(a, b, k, itself=itself)
    return squares.sqrt(), found


def nearest_squared(a: Tensor, b: Tensor, k: int, *, itself: bool = False) -> tuple[Tensor, Tensor]:
    """As `nearest`, with squared distances."""
    available = len(b) - itself
    if not 1 <= k <= available:
        raise ValueError(f"{len(b)} points have no {k} nearest neighbours")
    own = torch.arange(len(a), device=a.device) if itself else None
    if a.shape[1] <= DIRECT:
        return _ascending(*Differences(a, b).smallest(k, own), k)
    squares = torch.empty((len(a), k), dtype=torch.float64, device=a.device)
    found = torch.empty((len(a), k), dtype=torch.int64, device=a.device)
    rest = torch.arange(len(a), device=a.device)
    for level in (torch.float32, torch.float64, None):
        ours = None if own is None else own[rest]
        some, wanted = a[rest], min(k + EXTRA, available)
        tiles: Tiles = Differences(some, b) if level is None else Products(some, b, level)
        ranks, columns = tiles.smallest(wanted, ours)
        exact = squared_to(some, b, columns)
        squares[rest], found[rest] = _ascending(exact, columns, k)
        if isinstance(tiles, Products):
            rest = rest[~_certain(tiles, ranks.double(), exact, k, wanted == available)]
        if level is None or not len(rest):
            break
    return squares, found


def _certain(tiles: Products, ranks: Tensor, exact: Tensor, k: int, complete: bool) -> Tensor:
    """Whether no point outside a row's candidates can be among its k nearest: bool (n,)."""
    ranks = ranks + tiles.square.unsqueeze(1)
    sound = ((ranks - exact).abs() <= tiles.error).all(1)  # a library may round more than fp32
    if complete:
        return sound
    return sound & (exact.kthvalue(k, 1).values <= ranks.amax(1) - tiles.error)


def _ascending(squares: Tensor, columns: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row in ascending order, the lower column first where they tie."""
    order = columns.argsort(1)
    squares, columns = squares.gather(1, order), columns.gather(1, order)
    order = squares.argsort(dim=1, stable=True)[:, :k]
    return squares.gather(1, order), columns.gather(1, order)


def squared_radii(x: Tensor, k: int) -> Tensor:
    """Each point's squared distance to its k-th nearest other point: float64 (n,)."""
    return nearest_squared(x, x, k, itself=True)[0][:, -1].contiguous()


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

    Balls are closed: a point at exactly the radius is inside. Distances are those that
    `squared_radii` measures, so that ties are ties.

    Args:
        real: float (n, d); fake: float (m, d).
        real_radius: squared, float64 (n,); fake_radius: squared, float64 (m,).
    """
    n, m = len(real), len(fake)
    around = torch.zeros(m, dtype=torch.int64, device=real.device)
    in_fake = torch.zeros(n, dtype=torch.bool, device=real.device)
    reached = torch.zeros(n, dtype=torch.bool, device=real.device)
    direct = real.shape[1] <= DIRECT
    pairs = Differences(real, fake) if direct else Products(real, fake, torch.float32)
    # A product's tile lacks ‖a‖², so that moves to the other side of each comparison.
    square = pairs.square if isinstance(pairs, Products) else torch.zeros_like(real_radius)
    error = pairs.error if isinstance(pairs, Products) else 0.0

    def count(rows: slice) -> Tensor:
        holders = torch.empty(m, dtype=torch.int64, device=real.device)
        limit = (real_radius[rows] - square[rows]).unsqueeze(1)
        for columns, tile in pairs.tiles(rows):
            held = tile <= (limit + error).to(tile.dtype)
            slack = (tile - fake_radius[columns].to(tile.dtype)).amin(1) + square[rows]
            touched = slack <= error
            if error:
                _settle(held, tile <= (limit - error).to(tile.dtype), rows, columns)
                for i in (touched & (slack > -error)).nonzero().flatten().tolist():
                    gaps = tile[i] - fake_radius[columns] + square[rows][i]
                    close = (gaps <= error).nonzero().flatten()
                    exact = squared(real[rows][i].expand(len(close), -1), fake[columns][close])
                    touched[i] = (exact <= fake_radius[columns][close]).any()
            holders[columns] = held.sum(0)
            reached[rows] |= held.any(1)
            in_fake[rows] |= touched
        return holders

    def _settle(held: Tensor, surely: Tensor, rows: slice, columns: slice) -> None:
        """Decide by differences which of the pairs at the edge are held."""
        i, j = (held & ~surely).nonzero(as_tuple=True)
        for part in blocks(len(i), max(2, PAIRS // real.shape[1])):
            p, q = i[part], j[part]
            held[p, q] = squared(real[rows][p], fake[columns][q]) <= real_radius[rows][p]

    for holders in pairs.each_block(count):
        around += holders
    return Balls(around, in_fake, reached)
