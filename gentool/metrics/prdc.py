"""Precision, recall, density and coverage: fidelity and diversity told apart by k-NN balls."""

from __future__ import annotations

from torch import Tensor

from gentool.metrics.knn import balls, radii


def prdc(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    """How two point sets lie in each other's k-NN balls.

    precision  share of fakes in some real ball    (Kynkäänniemi et al. 2019, eq. 2)
    recall     share of reals in some fake ball
    density    real balls around a fake, over k    (Naeem et al. 2020, eq. 5)
    coverage   share of real balls that hold a fake (eq. 7)

    Precision and recall of equal distributions are not 1 but depend on n, k and d: read them
    beside the floor. Density may exceed 1.

    Args:
        real: float32 (n, d); fake: float32 (m, d); n, m > k = neighbours.
    """
    k = neighbours
    found = balls(real, fake, radii(real, k), radii(fake, k))
    return {
        "precision": (found.real_around > 0).double().mean().item(),
        "recall": found.in_fake.double().mean().item(),
        "density": found.real_around.double().mean().item() / k,
        "coverage": found.reached.double().mean().item(),
    }
