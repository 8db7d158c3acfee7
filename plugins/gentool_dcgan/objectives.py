"""What the discriminator and the generator minimise, from logits (N,) in float32 at least.

non-saturating   Goodfellow et al. 2014, arXiv:1406.2661
least-squares    Mao et al. 2017, arXiv:1611.04076, with a = 0, b = c = 1
hinge            Lim & Ye 2017, arXiv:1705.02894, as SNGAN has it (Miyato et al. 2018)
relativistic     Jolicoeur-Martineau 2019, arXiv:1807.00734, paired as in R3GAN (Huang et al.
                 2024, arXiv:2501.05441)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


def discriminator_loss(objective: str, real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))), or the objective's counterpart of it."""
    if objective == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    if objective == "least-squares":
        return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()
    if objective == "relativistic":
        return softplus(fake - real).mean()
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(objective: str, fake: Tensor, real: Tensor | None) -> Tensor:
    """The generator's side; `real` is what the relativistic objective compares with."""
    if objective == "hinge":
        return -fake.mean()
    if objective == "least-squares":
        return 0.5 * (fake - 1).square().mean()
    if objective == "relativistic":
        assert real is not None
        return softplus(real - fake).mean()
    return softplus(-fake).mean()


def standing(objective: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """How the game stands: mean D(x), mean D(G(z)), and the share that D tells apart.

    Least squares regresses D without a sigmoid; a relativistic D knows differences only.
    """
    if objective == "relativistic":
        real, fake = real - fake, fake - real
    half = 0.5 if objective == "least-squares" else 0.0
    p_real, p_fake = (
        v.clamp(0, 1) if objective == "least-squares" else torch.sigmoid(v) for v in (real, fake)
    )
    right = torch.cat([real > half, fake < half]).float().mean()
    return {"d_real": p_real.mean(), "d_fake": p_fake.mean(), "d_accuracy": right}
