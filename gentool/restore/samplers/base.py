"""Chains of all images in one batch, and what a kernel does with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.noise import Noise
from gentool.restore.target import Target


@dataclass
class Chains:
    """Where the chains are: M = N·C rows, the C chains of an image beside each other.

    Attributes:
        u: (M, D).
        value: (M,), log p(y|z) there.
        gradient: (M, D) of `value` by u; None where it is not known.
        rows: int64 (M,), the image of each chain.
        labels: int64 (M,) for a class-conditional model.
    """

    u: Tensor
    value: Tensor
    rows: Tensor
    labels: Tensor | None = None
    gradient: Tensor | None = None

    def where(self, accept: Tensor, u: Tensor, value: Tensor) -> None:
        """Move the chains that accept; what was known of the gradient is gone."""
        self.u = torch.where(accept[:, None], u, self.u)
        self.value = torch.where(accept, value, self.value)
        self.gradient = None


class Kernel(ABC):
    """One Markov kernel, tuned during the warm-up and fixed after it."""

    name: str

    def __init__(self, target: Target, chains: int) -> None:
        """
        Args:
            chains: C, of each image.
        """
        self.target, self.chains = target, chains

    @abstractmethod
    def step(self, state: Chains, noise: Noise) -> Tensor:
        """Move every chain once, in place.

        Args:
            noise: a fresh one each step.

        Returns:
            the acceptance probability of each chain, (M,) in [0, 1].
        """

    def adapt(self, state: Chains, accepted: Tensor, done: int, total: int) -> None:
        """Learn from warm-up step `done` of `total`; nothing by default."""
        return

    def by_image(self, each: Tensor) -> Tensor:
        """The mean over an image's chains: (N·C,) → (N,)."""
        return each.view(-1, self.chains).mean(1)
