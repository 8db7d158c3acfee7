"""Precision, recall, density and coverage: fidelity and diversity told apart by k-NN balls."""

from __future__ import annotations

from torch import Tensor

from gentool.metrics.knn import balls, squared_radii


def prdc(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    """How two point sets lie in each other's k-NN balls.

    precision  share of fakes in some real ball    (Kynkäänniemi et al. 2019, eq. 2)
    recall     share of reals in some fake ball
    density    real balls around a fake, over k    (Naeem et al. 2020, eq. 5)
    coverage   share of real balls that hold a fake (eq. 7)

    A ball's radius is the distance to the point's k-th nearest other point, and balls are closed,
    as in eq. 2 of the former paper: a copy of a point that is there k + 1 times lies in its ball
    of radius 0. (The code released with the latter paper compares with <.)

    Precision and recall of equal distributions are not 1 but depend on n, k and d: read them
    beside the floor. Density may exceed 1.

    Args:
        real: float32 (n, d); fake: float32 (m, d); n, m > k = neighbours.
    """
    k = neighbours
    found = balls(real, fake, squared_radii(real, k), squared_radii(fake, k))
    return {
        "precision": (found.real_around > 0).double().mean().item(),
        "recall": found.in_fake.double().mean().item(),
        "density": found.real_around.double().mean().item() / k,
        "coverage": found.reached.double().mean().item(),
    }
