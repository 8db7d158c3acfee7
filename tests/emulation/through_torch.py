"""The operations as torch's dispatcher runs them, in the shape of `checks.Implementation`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gentool.ops import noise


class ThroughTorch:
    """Whatever kernels torch chooses for `device`; tensors come from and go back to the CPU.

    The layout in memory survives the trip, so that strided rows stay strided rows.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def to(self, x: Tensor | None) -> Tensor | None:
        if x is None or self.device.type == "cpu":
            return x
        storage = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
        return storage.to(self.device).as_strided(x.shape, x.stride(), x.storage_offset())

    def step(self, step: int) -> Tensor:
        return torch.tensor(step, device=self.device)

    def bce(self, logits: Tensor, target: Tensor) -> Tensor:
        return torch.ops.gentool.bce_with_logits(self.to(logits), self.to(target)).cpu()

    def bce_backward(self, grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        op = torch.ops.gentool.bce_with_logits_backward
        return op(self.to(grad), self.to(logits), self.to(target)).cpu()

    def reparam_kl(
        self, mu: Tensor, logvar: Tensor, eps: Tensor | None, key: int, step: int, offset: int
    ) -> tuple[Tensor, Tensor]:
        z, kl = torch.ops.gentool.reparam_kl(
            self.to(mu),
            self.to(logvar),
            self.to(eps),
            noise.signed64(key),
            self.step(step),
            offset,
        )
        return z.cpu(), kl.cpu()

    def reparam_kl_backward(
        self,
        grad_z: Tensor,
        grad_kl: Tensor,
        mu: Tensor,
        logvar: Tensor,
        eps: Tensor | None,
        key: int,
        step: int,
        offset: int,
    ) -> tuple[Tensor, Tensor]:
        grads = torch.ops.gentool.reparam_kl_backward(
            self.to(grad_z),
            self.to(grad_kl),
            self.to(mu),
            self.to(logvar),
            self.to(eps),
            noise.signed64(key),
            self.step(step),
            offset,
        )
        return grads[0].cpu(), grads[1].cpu()

    def draw(
        self, kind: str, shape: Sequence[int], key: int, step: int, offset: int, dtype: torch.dtype
    ) -> Tensor:
        op = torch.ops.gentool.normal if kind == "normal" else torch.ops.gentool.uniform
        return op(tuple(shape), noise.signed64(key), self.step(step), offset, dtype).cpu()
