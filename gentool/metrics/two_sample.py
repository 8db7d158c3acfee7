"""Can a nearest-neighbour classifier tell fakes from reals?"""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.metrics.knn import nearest


def nearest_neighbour(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Leave-one-out accuracy of 1-NN on reals and fakes, the two halves apart.

    (Lopez-Paz & Oquab 2017; Xu et al. 2018, section 3.) 0.5 is ideal. Reals near 0 with fakes
    near 1 means collapse; both near 1 that the sets lie apart; both near 0 that fakes copy reals.
    A tie counts half.

    Args:
        real, fake: float32 (n, d), the same n.
    """
    to_real, to_fake = nearest(real, fake, 1)[0], nearest(fake, real, 1)[0]
    among_real = nearest(real, real, 1, itself=True)[0]
    among_fake = nearest(fake, fake, 1, itself=True)[0]
    real_half, fake_half = _share(among_real, to_real), _share(among_fake, to_fake)
    return {"1nn": (real_half + fake_half) / 2, "1nn_real": real_half, "1nn_fake": fake_half}


def _share(own: Tensor, other: Tensor) -> float:
    return (torch.sign(other - own).double().mean().item() + 1) / 2
