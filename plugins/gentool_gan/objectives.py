"""What the discriminator and the generator minimise, from logits, in stable form.

The discriminator's output is a logit l, D(x) = sigmoid(l), and

    −log D(x) = softplus(−l)        −log(1 − D(x)) = softplus(l)

are finite for every finite l. Everything is computed in float32 at least.

    non-saturating, minimax     Goodfellow et al. 2014, arXiv:1406.2661
    least-squares               Mao et al. 2017, arXiv:1611.04076, with a = 0, b = c = 1
    hinge                       Lim & Ye 2017, arXiv:1705.02894
    relativistic                Jolicoeur-Martineau 2019, arXiv:1807.00734, paired as in
                                R3GAN (Huang et al. 2024, arXiv:2501.05441)
    label smoothing             Salimans et al. 2016, arXiv:1606.03498
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from gentool.nn import at_least_fp32


def discriminator_loss(
    objective: str,
    real: Tensor,
    fake: Tensor,
    smooth_real: float = 0.0,
    smooth_fake: float = 0.0,
) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))), or the objective's counterpart of it.

    Args:
        real, fake: logits of data and of generated examples, (N,).
        smooth_real, smooth_fake: real examples are labelled 1 − smooth_real, generated ones
            smooth_fake.
    """
    real, fake = at_least_fp32(real), at_least_fp32(fake)
    if objective == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    if objective == "relativistic":
        return softplus(fake - real).mean()
    label_real, label_fake = 1 - smooth_real, smooth_fake
    if objective == "least-squares":
        return 0.5 * (real - label_real).square().mean() + 0.5 * (fake - label_fake).square().mean()
    return cross_entropy(real, label_real).mean() + cross_entropy(fake, label_fake).mean()


def generator_loss(objective: str, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """The generator's side, from the logits (N,) of what it generated.

    Args:
        real: logits of data, (N,), which the relativistic objective compares with.
    """
    fake = at_least_fp32(fake)
    if objective == "relativistic":
        assert real is not None
        return softplus(at_least_fp32(real) - fake).mean()
    if objective == "hinge":
        return -fake.mean()
    if objective == "least-squares":
        return 0.5 * (fake - 1).square().mean()
    if objective == "minimax":
        # E log(1 − D(G(z))): flat where the discriminator is sure, which is where it starts.
        return -softplus(fake).mean()
    # −E log D(G(z)): the same fixed point, with a gradient where it is needed.
    return softplus(-fake).mean()


def cross_entropy(logit: Tensor, label: float) -> Tensor:
    """−label·log D − (1 − label)·log(1 − D), elementwise, with D = sigmoid(logit)."""
    # One softplus for a hard label: the other term is an exact zero.
    if label == 1:
        return softplus(-logit)
    if label == 0:
        return softplus(logit)
    return label * softplus(-logit) + (1 - label) * softplus(logit)


def probability(objective: str, logit: Tensor) -> Tensor:
    """D(x) in [0, 1], for the log; least squares regresses it without a sigmoid."""
    logit = at_least_fp32(logit)
    return logit.clamp(0, 1) if objective == "least-squares" else torch.sigmoid(logit)


def standing(objective: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """How the game stands: mean D(x), mean D(G(z)), and the share that D tells apart.

    A relativistic D knows differences only: of a pair, which of the two is real.
    """
    if objective == "relativistic":
        real, fake = (at_least_fp32(real) - at_least_fp32(fake)), at_least_fp32(fake - real)
    p_real, p_fake = probability(objective, real), probability(objective, fake)
    right = torch.cat([p_real > 0.5, p_fake < 0.5])
    return {"d_real": p_real.mean(), "d_fake": p_fake.mean(), "d_accuracy": right.float().mean()}
