"""What every operator is: a linear map with a name, and a picture of what it leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class Operator(ABC):
    """A linear map y = A x of images or points.

    Attributes:
        name: what was done, in a few words, such as "missing center".
        shape: of one x, (C, H, W) or (D,).
        out_shape: of one y.
    """

    name: str
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A x: (N, *shape) → (N, *out_shape); differentiable, of the dtype of x."""

    @property
    def measured(self) -> Tensor:
        """Which values of y say anything: bool, of `out_shape`. All of them, unless some are
        missing."""
        return torch.ones(self.out_shape, dtype=torch.bool)

    @property
    def chooses(self) -> bool:
        """Whether A only leaves values out: y_i = x_i where measured, and 0 elsewhere."""
        return False

    def preview(self, y: Tensor) -> Tensor:
        """y as people would look at it: (N, *out_shape) → (N, *shape) in [0, 1]."""
        back = self.adjoint(y)
        low, high = back.flatten(1).amin(1), back.flatten(1).amax(1)
        view = (-1, *[1] * (back.dim() - 1))
        picture: Tensor = (back - low.view(view)) / (high - low).clamp(min=1e-12).view(view)
        return picture

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y: (N, *out_shape) → (N, *shape), by reverse-mode differentiation of A."""
        with torch.enable_grad():
            x = y.new_zeros((len(y), *self.shape)).requires_grad_()
            (back,) = torch.autograd.grad(self(x), x, y)
        found: Tensor = back
        return found

    def matrix(self) -> Tensor:
        """A itself, float64 (values of y, values of x): for small problems and for tests."""
        size = torch.Size(self.shape).numel()
        basis = torch.eye(size, dtype=torch.float64).view(size, *self.shape)
        return self(basis).flatten(1).T


class Identity(Operator):
    """y = x: nothing is missing."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.name, self.shape, self.out_shape = "nothing missing", tuple(shape), tuple(shape)

    def __call__(self, x: Tensor) -> Tensor:
        return x

    @property
    def chooses(self) -> bool:
        return True

    def preview(self, y: Tensor) -> Tensor:
        return y.clamp(0, 1)


class Chain(Operator):
    """One operator after the other: y = A_k … A_1 x."""

    def __init__(self, steps: Sequence[Operator]) -> None:
        """
        Args:
            steps: at least one, in the order in which they act; each takes what the one before
                gives.
        """
        for before, after in pairwise(steps):
            if before.out_shape != after.shape:
                raise ValueError(
                    f"{after.name} takes {after.shape}, but {before.name} gives {before.out_shape}"
                )
        self.steps = tuple(steps)
        self.name = ", ".join(one.name for one in steps)
        self.shape, self.out_shape = steps[0].shape, steps[-1].out_shape

    def __call__(self, x: Tensor) -> Tensor:
        for one in self.steps:
            x = one(x)
        return x

    @property
    def measured(self) -> Tensor:
        """What the last operator measures; of values that are merely chosen, what all leave."""
        found = self.steps[-1].measured
        if self.chooses:
            for one in self.steps:
                found = found & one.measured
        return found

    @property
    def chooses(self) -> bool:
        return all(one.chooses for one in self.steps)

    def preview(self, y: Tensor) -> Tensor:
        for one in reversed(self.steps):
            y = one.preview(y)
        return y


def chained(steps: Sequence[Operator], shape: Sequence[int]) -> Operator:
    """The operators as one; without any, the identity."""
    if not steps:
        return Identity(shape)
    return steps[0] if len(steps) == 1 else Chain(steps)
