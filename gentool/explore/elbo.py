"""The ELBO of one example in its parts, in nats.

    log p(x) ≥ E_q[log p(x|z)] − KL(q(z|x) ‖ N(0, I)),    KL = Σ_j ½(μ_j² + σ_j² − 1 − log σ_j²)

The expectation is a mean over draws of q(z|x); the KL is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.latent.prior import device_of
from gentool.model import Batch, Explains, Infers, Model, Presents
from gentool.noise import sampling_noise

DRAWS = 64


@dataclass(frozen=True)
class Parts:
    """Of one example.

    Attributes:
        mu, sigma: (D,), of q(z|x).
        kl: (D,), of each latent, in nats.
        recon: −E_q[log p(x|z)]; None for a model without a likelihood.
    """

    mu: Tensor
    sigma: Tensor
    kl: Tensor
    recon: float | None

    @property
    def negative_elbo(self) -> float | None:
        return None if self.recon is None else self.recon + float(self.kl.sum())


def parts(model: Model, x: Tensor, labels: Tensor | None, draws: int = DRAWS) -> Parts | None:
    """The parts for x (1, *shape); None for a model whose encoder is no distribution.

    Args:
        labels: int64 (1,) for a class-conditional model.
    """
    if not isinstance(model, Infers):
        return None
    device = device_of(model)
    noise = sampling_noise(0, device)
    seen, target = x.to(device), x.to(device)
    labels = None if labels is None else labels.to(device)
    with torch.no_grad():
        if isinstance(model, Presents):
            seen, target = model.presented(Batch(seen), noise)
        mu, logvar = (m[0].float() for m in model.infer(seen, labels))
        recon = None
        if isinstance(model, Explains) and model.support is not None:
            eps = noise.normal("elbo", (draws, *mu.shape))
            z = mu + (0.5 * logvar).exp() * eps
            told = None if labels is None else labels.expand(draws)
            each = model.explain(target.expand(draws, *x.shape[1:]).float(), z, told)
            recon = -each.flatten(1).sum(1).double().mean().item()
    mu, logvar = mu.flatten().double().cpu(), logvar.flatten().double().cpu()
    return Parts(mu, (0.5 * logvar).exp(), kl(mu, logvar), recon)


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each latent in nats: float64, of the shape of μ."""
    mu, logvar = mu.double(), logvar.double()
    found: Tensor = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
    return found
