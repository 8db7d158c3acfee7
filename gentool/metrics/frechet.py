"""The Fréchet distance between two Gaussians fitted to features.

On Inception features it is the FID of Heusel et al. (2017, arXiv:1706.08500, eq. 6). On any other
features it is a number of its own, and is never called FID here.
"""

from __future__ import annotations

from torch import Tensor

from gentool.errors import UserError
from gentool.likeness import distance, moments

MOST_DIMS = 4096


def frechet(real: Tensor, fake: Tensor) -> dict[str, float]:
    """d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), from n samples of each side.

    The covariances are the unbiased ones; computed in float64. The estimate is biased upwards,
    the more the smaller n (Chong & Forsyth 2020), so compare only equal n.

    Args:
        real: float (n, d); fake: float (m, d); n, m ≥ 2.

    Raises:
        UserError: for more dimensions than an eigendecomposition is bearable in.
    """
    if real.shape[1] > MOST_DIMS:
        raise UserError(
            f"the Fréchet distance of {real.shape[1]} dimensions would take hours; "
            "use --features random or classifier, or leave frechet out of --metrics"
        )
    (mu1, sigma1), (mu2, sigma2) = moments(real), moments(fake)
    return {"frechet": distance(mu1, sigma1, mu2, sigma2)}
