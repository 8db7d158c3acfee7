"""What each operation computes, in plain torch. This file is the definition of the rest.

The forward functions are ordinary differentiable torch code: differentiable any number of times,
and fused by ``torch.compile``. The ``*_backward`` functions are the gradients by hand, which the
operations use so that nothing but their inputs is kept for the backward pass.

float16 and bfloat16 are computed in float32; sums are float32, or float64 for float64 inputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """`x` in the precision it is computed in: float32, or float64 where it is float64."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def probabilities(target: Tensor, dtype: torch.dtype) -> Tensor:
    """A target as a probability: floats as they are, uint8 read as t/255."""
    return target.to(dtype) / 255 if target.dtype == torch.uint8 else target.to(dtype)


def per_sample(x: Tensor) -> Tensor:
    """The sum of each sample: (N, …) to (N,)."""
    return x.flatten(1).sum(1) if x.dim() > 1 else x


def bce_with_logits(logits: Tensor, target: Tensor) -> Tensor:
    """−log p(target) of Bernoulli(σ(logits)), summed over each sample, in nats.

    softplus(x) − x·t, written as |x|·(t where x < 0, else 1 − t) + log(1 + e^−|x|), in which
    nothing cancels. Infinite logits give what PyTorch's binary_cross_entropy_with_logits gives.

    Args:
        logits: (N, …) floating.
        target: the shape of logits; probabilities, or uint8 read as t/255.

    Returns:
        (N,) sums.
    """
    x = wide(logits)
    t = probabilities(target, x.dtype)
    negative = x < 0
    # Not abs(): its derivative at 0 would be 0, and σ(0) − t is wanted. 0·x makes −∞ a NaN.
    size = torch.where(negative, -x, x)
    weight = torch.where(negative, torch.add(t, x, alpha=0.0), 1 - t)
    return per_sample(torch.addcmul(F.softplus(-size), size, weight))


def bce_with_logits_backward(grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """(σ(x) − t)·grad; grad is (N,), the result is like logits, its memory format too."""
    x = wide(logits)
    t = probabilities(target, x.dtype)
    upstream = grad.to(x.dtype).view(-1, *[1] * (logits.dim() - 1))
    out = torch.empty_like(logits)
    if out.dtype == x.dtype:
        return torch.sigmoid(x, out=out).sub_(t).mul_(upstream)
    return out.copy_(torch.sigmoid(x).sub_(t).mul_(upstream))


def reparam_kl(mu: Tensor, logvar: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """z = μ + σ·ε with σ = exp(logvar/2), and KL(N(μ, σ²) ‖ N(0, 1)) summed over each sample.

    Kingma and Welling, "Auto-encoding variational Bayes" (2014), section 2.4 and appendix B:
    KL = ½ Σ (σ² + μ² − 1 − log σ²), in nats.

    Args:
        mu, logvar, eps: (N, …) floating, one shape.

    Returns:
        z like mu, and (N,) sums.
    """
    m, v = wide(mu), wide(logvar)
    z = torch.addcmul(m, torch.exp(0.5 * v), eps.to(m.dtype))
    kl = 0.5 * per_sample(torch.expm1(v) - v + m * m)
    return z.to(mu.dtype), kl


def reparam_kl_backward(
    grad_z: Tensor, grad_kl: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor]:
    """∂μ = g_z + g_kl·μ and ∂logvar = ½ (g_z·σ·ε + g_kl·(σ² − 1)), both contiguous like mu."""
    m, v, g = wide(mu), wide(logvar), wide(grad_z)
    k = grad_kl.to(m.dtype).view(-1, *[1] * (mu.dim() - 1))
    grad_mu = torch.addcmul(g, k, m)
    grad_logvar = torch.exp(0.5 * v).mul_(eps.to(m.dtype)).mul_(g)
    grad_logvar = grad_logvar.addcmul_(k, torch.expm1(v)).mul_(0.5)
    return grad_mu.to(mu.dtype).contiguous(), grad_logvar.to(mu.dtype).contiguous()
