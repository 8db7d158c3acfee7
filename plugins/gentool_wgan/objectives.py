"""The two sides of the Wasserstein game, and the penalty that keeps it honest.

By Kantorovich and Rubinstein's duality::

    W(p, q) = sup_{‖f‖_L ≤ 1} E_{x~p} f(x) − E_{x̃~q} f(x̃)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gentool.nn import at_least_fp32


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """E f(x) − E f(G(z)) from critic values (N,): what the critic maximises.

    It estimates W(p_data, p_G) as far as f is 1-Lipschitz and optimal; with clipping or spectral
    norms it does so up to an unknown factor.
    """
    return at_least_fp32(real).mean() - at_least_fp32(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """−E f(G(z)): the part of the distance that the generator can change."""
    return -at_least_fp32(fake).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor
) -> Tensor:
    """E (‖∇_x̂ f(x̂)‖₂ − 1)² at x̂ = ε·x + (1 − ε)·x̃ (Gulrajani et al. 2017, eq. 3).

    The norm is that of the whole gradient of one example, over channels, rows and columns.

    Args:
        critic: (N, …) → (N,).
        real, fake: x and x̃ = G(z), (N, …).
        epsilon: U[0, 1), (N, 1, …), one number an example.

    Returns:
        scalar, differentiable a second time with respect to the critic's weights.
    """
    x_hat = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    norm = torch.linalg.vector_norm(at_least_fp32(gradient).flatten(1), dim=1)
    penalty: Tensor = (norm - 1).square().mean()
    return penalty
