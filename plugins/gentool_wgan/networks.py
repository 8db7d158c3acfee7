"""The fully connected critic and generator; the convolutional ones are those of `gentool.nn`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gentool.nn import joined, mlp, one_hot

LeakyReLU = partial(nn.LeakyReLU, 0.2)


class MLPGenerator(nn.Module):
    """z (N, latent_dim) → u (N, *shape); images end in tanh."""

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        classes: int,
        hidden: tuple[int, ...],
        bounded: bool,
    ) -> None:
        super().__init__()
        self.classes = classes
        size = torch.Size(shape).numel()
        self.body = mlp(latent_dim + classes, hidden, size, nn.ReLU)
        self.end = nn.Sequential(nn.Unflatten(1, shape), nn.Tanh() if bounded else nn.Identity())

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        u: Tensor = self.end(self.body(joined(z, one_hot(labels, self.classes, z))))
        return u


class MLPCritic(nn.Module):
    """u (N, …) → f(u), (N,)."""

    def __init__(self, size: int, classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.body = mlp(size + classes, hidden, 1, LeakyReLU)

    def forward(self, u: Tensor, labels: Tensor | None) -> Tensor:
        flat = joined(u.flatten(1), one_hot(labels, self.classes, u))
        values: Tensor = self.body(flat).squeeze(1)
        return values
