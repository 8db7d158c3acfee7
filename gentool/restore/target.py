"""log p(y|z) of a batch of chains, in coordinates in which the prior is a standard normal.

    log p(u|y) = log p(y|z(u)) − ½‖u‖² + const

Two forms of p(y|z). Where y are values of x itself, without further noise, and the decoder is a
density that factorises (Bernoulli, Gaussian), it is exact:

    log p(y|z) = Σ_{i seen} log p(x_i|z)

Everything else is Gaussian:  log p(y|z) = −‖y − A G(z)‖² / 2σ² − m log(σ√2π),  G(z) = E[x|z].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gentool.latent.prior import device_of
from gentool.model import Batch, Explains, Model, Presents
from gentool.noise import sampling_noise
from gentool.restore.measurement import TOLERANCE, Measurement
from gentool.restore.whitening import Whitening, whitening_of

ROWS = {"cpu": 1024, "cuda": 16384}
"""Latents that are decoded at a time."""


class Target:
    """The likelihood of what was seen, for many latents at once; counts its decoding.

    Attributes:
        exact: whether p(y|z) is the decoder's own.
        seen: y as the model is held to it, (N, *out_shape), on the model's device.
        decoded: latents decoded so far, the unit of a sampler's cost.
    """

    def __init__(
        self, model: Model, measurement: Measurement, whitening: Whitening | None = None
    ) -> None:
        """
        Args:
            model: in eval mode.
            whitening: measured on the model where it is not given.
        """
        self.model, self.measurement = model, measurement
        self.operator = measurement.operator
        self.whitening = whitening or whitening_of(model)
        self.device = device_of(model)
        self.exact = is_exact(model, measurement)
        self.noise = measurement.noise if measurement.noise is not None else TOLERANCE
        self.seen = measurement.y.to(self.device)
        self.measured = self.operator.measured.to(self.device)
        if self.exact and isinstance(model, Presents):
            # What is random about looking, such as binarisation, is drawn once and for all.
            noise = sampling_noise(0, self.device)
            self.seen = model.presented(Batch(self.seen), noise)[1].to(self.seen.dtype)
        self.decoded = 0

    def __len__(self) -> int:
        return len(self.measurement)

    def log_likelihood(self, u: Tensor, rows: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(y|z) in nats: (M,), −∞ where it is not a number.

        Args:
            u: (M, D) whitened latents.
            rows: int64 (M,), the image that each is for.
            labels: int64 (M,) for a class-conditional model.
        """
        self.decoded += len(u)
        size = ROWS.get(self.device.type, ROWS["cuda"])
        parts = []
        for i in range(0, len(u), size):
            chosen = None if labels is None else labels[i : i + size]
            parts.append(self._part(u[i : i + size], rows[i : i + size], chosen))
        found = torch.cat(parts) if len(parts) != 1 else parts[0]
        return torch.where(found.isfinite(), found, -math.inf)

    def _part(self, u: Tensor, rows: Tensor, labels: Tensor | None) -> Tensor:
        z = self.whitening.to_z(u)
        if self.exact:
            assert isinstance(self.model, Explains)
            each = self.model.explain(self.seen[rows], z, labels)
            return torch.where(self.measured, each, 0).flatten(1).sum(1)
        return self.gaussian(self.model.sample(z, labels), rows)

    def gaussian(self, x: Tensor, rows: Tensor) -> Tensor:
        """The Gaussian form, for decoded images x (M, *shape): (M,)."""
        difference = torch.where(self.measured, self.seen[rows] - self.operator(x), 0)
        squares = difference.square().flatten(1).sum(1) / self.noise**2
        each = math.log(self.noise) + 0.5 * math.log(2 * math.pi)
        return -0.5 * squares - each * int(self.measured.sum())

    def with_gradient(
        self, u: Tensor, rows: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(y|z), (M,), and its gradient by u, (M, D), which is 0 where it is no number."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = self.log_likelihood(u, rows, labels)
            (gradient,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)


def is_exact(model: Model, measurement: Measurement) -> bool:
    """Whether what was seen has the decoder's own likelihood."""
    density = isinstance(model, Explains) and model.support not in (None, "")
    return density and measurement.operator.chooses and measurement.noise is None
