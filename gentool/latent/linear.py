"""Linear models of an attribute given z: the few lines that directions need."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 1e-4
"""Weight of ½‖w‖², z in units of its root mean square deviation. It keeps separable classes finite,
and the normal out of coordinates that hardly vary: an encoder leaves unused ones near 0, where a
standardisation of each would blow their noise up."""


def logistic(z: Tensor, y: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Logistic regression, the normal of a linear classifier: p(y = 1|z) = σ(w·z + b).

    Args:
        z: (N, D); y: (N,) of 0 and 1.
        ridge: λ of the objective mean(−log p) + ½λ‖w‖², in coordinates whose mean variance is 1.

    Returns:
        w (D,) and b (), float64, in the coordinates of z.
    """
    centre, scale = _moments(z)
    u, target = (z.double() - centre) / scale, y.double()
    w = torch.zeros(z.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w],
        max_iter=300,
        tolerance_grad=1e-8,
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        logits = u @ w[:-1] + w[-1]
        loss = F.binary_cross_entropy_with_logits(logits, target)
        loss = loss + 0.5 * ridge * w[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    slope = w.detach()[:-1] / scale
    return slope, w.detach()[-1] - slope @ centre


def least_squares(z: Tensor, y: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Linear regression y ≈ w·z + b, for a continuous attribute; as `logistic`."""
    centre, scale = _moments(z)
    u, target = (z.double() - centre) / scale, y.double()
    gram = u.T @ u / len(u) + ridge * torch.eye(u.shape[1], dtype=torch.float64)
    slope = torch.linalg.solve(gram, u.T @ (target - target.mean()) / len(u)) / scale
    return slope, target.mean() - slope @ centre


def _moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,), and one scale for all coordinates, so that no rotation changes the result."""
    wide = z.double()
    spread = wide.var(0, correction=0).mean().sqrt()
    return wide.mean(0), torch.where(spread > 0, spread, torch.ones_like(spread))


def principal(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of x (N, F), by whichever of its two Gram matrices is smaller.

    Returns:
        the coordinates of each row (N, K), the components (K, F) of length 1, and the variances
        (K,), falling; float64, K at most `count` and the rank. A component's largest entry is
        positive, so that its sign is not left to chance.
    """
    wide = x.double() - x.double().mean(0)
    n, f = wide.shape
    if f <= n:
        values, vectors = torch.linalg.eigh(wide.T @ wide / n)
        components = vectors.flip(1).T
    else:
        values, left = torch.linalg.eigh(wide @ wide.T / n)
        components = left.flip(1).T @ wide
        components = components / components.norm(dim=1, keepdim=True).clamp(min=1e-300)
    values = values.flip(0)
    k = min(count, int((values > 1e-9 * values[0].clamp(min=1e-300)).sum()))
    components = components[:k]
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = components * torch.where(largest < 0, -1.0, 1.0)
    return wide @ components.T, components, values[:k]
