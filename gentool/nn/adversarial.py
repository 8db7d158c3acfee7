"""What models share that play a generator against a discriminator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gentool.nn.layers import at_least_fp32

SATURATED = 0.995
"""An accuracy of the discriminator that leaves the generator nothing to follow."""


def saturation(scalars: Mapping[str, float], advice: str) -> list[str]:
    """A warning where the discriminator is so sure that the generator gets no useful gradient.

    Args:
        scalars: with ``d_accuracy``, the share of examples that the discriminator tells apart.
        advice: what to try, such as "--dropout 0.3 or a lower --lr".
    """
    accuracy = scalars.get("d_accuracy", 0.0)
    if accuracy < SATURATED:
        return []
    told = f"the discriminator tells {accuracy:.1%} apart, so the generator learns little; "
    return [f"{told}try {advice}"]


def zero_centred_penalty(values: Tensor, x: Tensor) -> Tensor:
    """E ‖∇ₓ D(x)‖², by which D is held flat where examples lie.

    R1 on data, R2 on generated examples (Mescheder et al. 2018, arXiv:1801.04406, eq. 9 and 10,
    there with the factor γ/2). The norm is that of the whole gradient of one value.

    Args:
        values: D's output, (N,), with a graph back to x.
        x: what D saw, a leaf that requires a gradient; N packs of it, or N examples.

    Returns:
        scalar, differentiable a second time with respect to the weights of D.
    """
    (gradient,) = torch.autograd.grad(at_least_fp32(values).sum(), x, create_graph=True)
    return at_least_fp32(gradient).square().sum() / len(values)
