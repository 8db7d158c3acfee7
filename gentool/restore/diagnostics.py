"""What chains are worth: rank-normalised split R̂ and bulk effective sample size.

Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, arXiv:1903.08008, as ArviZ and Stan compute
them, for many quantities at once. All in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def split(x: Tensor) -> Tensor:
    """Each chain as two, the middle draw of an odd number left out: (…, C, S) → (…, 2C, S//2)."""
    half = x.shape[-1] // 2
    return torch.cat([x[..., :half], x[..., x.shape[-1] - half :]], -2)


def rank_normalised(x: Tensor) -> Tensor:
    """Normal scores of the ranks over all chains, ties at their mean rank: (…, C, S) → the same.

    Φ⁻¹((r − 3/8) / (S + 1/4)), equation 14.
    """
    flat = x.double().flatten(-2).contiguous()
    ordered = flat.sort(-1).values.contiguous()
    below = torch.searchsorted(ordered, flat)
    up_to = torch.searchsorted(ordered, flat, right=True)
    rank = (below + 1 + up_to).double() / 2
    score = torch.special.ndtri((rank - 0.375) / (flat.shape[-1] + 0.25))
    scores: Tensor = score.view(x.shape)
    return scores


def _rhat(x: Tensor) -> Tensor:
    """√(((n − 1)/n · W + B/n) / W) of chains (…, C, n): equations 1 to 4."""
    n = x.shape[-1]
    within = x.var(-1).mean(-1)
    between = n * x.mean(-1).var(-1)
    return torch.sqrt((between / within + n - 1) / n)


def rhat(x: Tensor) -> Tensor:
    """Rank-normalised split R̂, the larger of bulk and folded, of (…, C, S): (…).

    1 where nothing varies at all; NaN for fewer than 4 draws or values that are not finite.
    """
    if x.shape[-1] < 4:
        return torch.full(x.shape[:-2], math.nan, dtype=torch.float64)
    halves = split(x.double())
    folded = (halves - halves.flatten(-2).quantile(0.5, -1)[..., None, None]).abs()
    found = torch.fmax(_rhat(rank_normalised(halves)), _rhat(rank_normalised(folded)))
    same = (halves == halves[..., :1, :1]).flatten(-2).all(-1)
    found = torch.where(same, 1.0, found)
    return torch.where(halves.isfinite().flatten(-2).all(-1), found, math.nan)


def autocovariance(x: Tensor) -> Tensor:
    """(1/n) Σ_i (x_i − x̄)(x_{i+t} − x̄) of each chain (…, n), by FFT: (…, n)."""
    n = x.shape[-1]
    centred = x - x.mean(-1, keepdim=True)
    size = 2 ** math.ceil(math.log2(2 * n))
    power = torch.fft.rfft(centred, size).abs().square()
    found: Tensor = torch.fft.irfft(power, size)[..., :n] / n
    return found


def effective(x: Tensor) -> Tensor:
    """Effective sample size of a mean over chains (…, C, S): (…), equations 10 to 13.

    The autocorrelations are summed in pairs up to Geyer's first negative pair, made to fall.
    """
    chains, n = x.shape[-2], x.shape[-1]
    covariance = autocovariance(x)
    within = covariance[..., 0].mean(-1) * n / (n - 1)
    total = within * (n - 1) / n
    if chains > 1:
        total = total + x.mean(-1).var(-1)
    rho = 1 - (within[..., None] - covariance.mean(-2)) / total[..., None]
    rho[..., 0] = 1.0
    even = rho[..., : n - n % 2]
    pairs = even[..., 0::2] + even[..., 1::2]
    # The last lags stand on next to no draws.
    most = max(1, pairs.shape[-1] - (1 if n % 2 else 2))
    positive = (pairs[..., :most] > 0).int().cumprod(-1)
    kept = pairs[..., :most].cummin(-1).values * positive
    last = positive.sum(-1, keepdim=True)  # the first pair that is not summed
    more = even[..., 0::2].gather(-1, last.clamp(max=pairs.shape[-1] - 1)).squeeze(-1)
    tau = -1 + 2 * kept.sum(-1) + torch.where(more > 0, more, 0.0)
    draws = chains * n
    return draws / tau.clamp(min=1 / math.log10(draws))


def bulk_effective(x: Tensor) -> Tensor:
    """Effective samples of the rank-normalised split chains (…, C, S): (…).

    NaN for fewer than 4 draws or values that are not finite.
    """
    if x.shape[-1] < 4:
        return torch.full(x.shape[:-2], math.nan, dtype=torch.float64)
    halves = split(x.double())
    found = effective(rank_normalised(halves))
    same = (halves == halves[..., :1, :1]).flatten(-2).all(-1)
    found = torch.where(same, float(halves.shape[-2] * halves.shape[-1]), found)
    return torch.where(halves.isfinite().flatten(-2).all(-1), found, math.nan)
