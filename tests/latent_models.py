"""Decoders whose latents are known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gentool.model import Model
from gentool.noise import Noise
from gentool.spec import DataSpec


class Linear(Model):
    """x = W z + b_label: its inversion is a least-squares problem."""

    def __init__(self, inputs: int = 3, outputs: int = 6, classes: int = 0) -> None:
        super().__init__()
        self.data = DataSpec("points", (outputs,), tuple("abc"[:classes]))
        self.latent_shape, self.classes = (inputs,), classes
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Linear(inputs, outputs)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
            self.layer.bias.zero_()
        self.offset = torch.randn(max(1, classes), outputs, generator=generator) * 3

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        x = self.layer(z)
        return x if labels is None else x + self.offset[labels]


class Boxed(Linear):
    """The same under a uniform prior."""

    def prior(self, n: int, noise: Noise) -> Tensor:
        return 2 * noise.uniform("z", (n, *self.latent_shape)) - 1


class Bumpy(Linear):
    """x = sin(2z): many latents give the same x, and gradient descent gets stuck between them."""

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return torch.sin(2 * self.layer(z))
