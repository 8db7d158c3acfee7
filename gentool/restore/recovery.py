"""Compressed sensing with a generative model: reconstruction against the number of measurements.

    y = A x + η,  A (m, n) of N(0, 1/m),  E‖η‖² = 0.1²
    ẑ = argmin_z ‖y − A G(z)‖² + λ‖z‖²,  error = ‖G(ẑ) − x‖² / n

Bora et al. 2017, arXiv:1703.03208, section 6: λ 0.1, Adam, 1,000 steps, 10 restarts of which the
one that fits y best is taken. Beside it Lasso in a basis of cosines, which knows of images only
that they are smooth, and an image of zeros.
"""

from __future__ import annotations

import importlib.util
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.errors import UserError
from gentool.latent.invert import Descent, invert
from gentool.latent.prior import device_of
from gentool.model import Model
from gentool.noise import sampling_noise
from gentool.restore.operators.measure import Measure
from gentool.sampling import draw_samples

if TYPE_CHECKING:
    from gentool.metrics.trial import Trial

IMAGES = 100
NOISE_NORM = 0.1
PLAN = Descent(steps=1000, restarts=10, lr=0.05, prior_weight=0.1)
ALPHA = 1e-5
"""Of scikit-learn's Lasso, ‖y − A D w‖²/2m + α‖w‖₁."""


def measured(x: Tensor, m: int, seed: int = 0) -> tuple[Measure, Tensor]:
    """A and y of images x (N, *shape) in [0, 1]; one A for all of them."""
    a = Measure(m, tuple(x.shape[1:]), seed)
    noise = sampling_noise(seed).normal("recovery", (len(x), m))
    return a, a(x) + NOISE_NORM / math.sqrt(m) * noise


def recover(
    model: Model,
    operator: Measure,
    y: Tensor,
    plan: Descent = PLAN,
    progress: Progress = lambda what, done, total: None,
) -> Tensor:
    """The images that a model finds for y (N, m): (N, *shape) on the CPU."""
    seen = y.to(device_of(model))
    a = operator.a.to(seen)

    def distance(x: Tensor, rows: Tensor) -> Tensor:
        return (x.flatten(1) @ a.T - seen[rows]).square().sum(1)

    found = invert(model, distance, len(y), plan, progress=progress)
    return draw_samples(model, len(y), device_of(model), z=found.z, labels=found.labels).clone()


def error(found: Tensor, x: Tensor) -> float:
    """The mean squared error a value."""
    return float((found - x).square().mean())


def cosines(n: int) -> Tensor:
    """The orthonormal DCT-II of length n, float64 (n, n): rows are the basis vectors."""
    k = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi / n * (k[None] + 0.5) * k[:, None]) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis


def lasso(operator: Measure, y: Tensor, alpha: float = ALPHA) -> Tensor:
    """Images that are sparse in a two-dimensional basis of cosines: (N, C, H, W) in [0, 1].

    Raises:
        UserError: where scikit-learn is missing.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UserError("Lasso needs scikit-learn; install it with pip install 'gentool[lasso]'")
    fit: Any = importlib.import_module("sklearn.linear_model").Lasso  # the package has no types

    channels, height, width = operator.shape
    basis = torch.kron(cosines(height), cosines(width))  # rows: images of one frequency
    basis = torch.block_diag(*[basis] * channels)
    design = (operator.a.double() @ basis.T).numpy()
    solver = fit(alpha=alpha, fit_intercept=False, max_iter=2000)
    weights = [torch.from_numpy(solver.fit(design, one).coef_.copy()) for one in y.double().numpy()]
    images: Tensor = (torch.stack(weights) @ basis).view(-1, *operator.shape)
    return images.clamp(0, 1).float()


def recovery(trial: Trial, measurements: tuple[int, ...]) -> dict[str, float]:
    """Errors on the first 100 test images: ``recovery_M`` of the model, ``lasso_M`` of Lasso where
    scikit-learn is installed, and ``blank`` of an image of zeros."""
    x = torch.from_numpy(trial.bench.dataset.test.x[:IMAGES].copy()).float() / 255
    values = {"blank": error(torch.zeros_like(x), x)}
    with_lasso = importlib.util.find_spec("sklearn") is not None
    for m in measurements:
        operator, y = measured(x, m, trial.seed)
        found = recover(trial.loaded.model, operator, y, PLAN, trial.bench.progress)
        values[f"recovery_{m}"] = error(found, x)
        if with_lasso:
            values[f"lasso_{m}"] = error(lasso(operator, y), x)
    return values
