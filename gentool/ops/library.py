"""The operations as torch knows them: schema, reference kernels, shape functions, gradients.

The reference is registered for every device. A native library only adds kernels under the CPU or
CUDA key, and torch's dispatcher prefers those, so nothing here asks whether there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_autograd, register_fake

from gentool.ops import noise, reference

_library = Library("gentool", "FRAGMENT")

_INPUTS = "Tensor mu, Tensor logvar, Tensor? eps, int key, Tensor? step, int row_offset"
_SCHEMAS = (
    "bce_with_logits(Tensor logits, Tensor target) -> Tensor",
    "bce_with_logits_backward(Tensor grad, Tensor logits, Tensor target) -> Tensor",
    f"reparam_kl({_INPUTS}) -> (Tensor, Tensor)",
    f"reparam_kl_backward(Tensor grad_z, Tensor grad_kl, {_INPUTS}) -> (Tensor, Tensor)",
    "normal(SymInt[] shape, int key, Tensor step, int row_offset, ScalarType dtype) -> Tensor",
    "uniform(SymInt[] shape, int key, Tensor step, int row_offset, ScalarType dtype) -> Tensor",
)
for _schema in _SCHEMAS:
    _library.define(_schema)


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


# Reference kernels.


def _eps(x: Tensor, eps: Tensor | None, key: int, step: Tensor | None, row_offset: int) -> Tensor:
    """ε as given, or drawn again from its address, always in float32 precision."""
    if eps is not None:
        return eps
    assert step is not None
    return noise.draw("normal", x.shape, key, step, row_offset, torch.float32)


def _reparam_kl(
    mu: Tensor, logvar: Tensor, eps: Tensor | None, key: int, step: Tensor | None, row_offset: int
) -> tuple[Tensor, Tensor]:
    z, kl = reference.reparam_kl(mu, logvar, _eps(mu, eps, key, step, row_offset))
    return z.contiguous(), kl


def _reparam_kl_backward(
    grad_z: Tensor,
    grad_kl: Tensor,
    mu: Tensor,
    logvar: Tensor,
    eps: Tensor | None,
    key: int,
    step: Tensor | None,
    row_offset: int,
) -> tuple[Tensor, Tensor]:
    drawn = _eps(mu, eps, key, step, row_offset)
    return reference.reparam_kl_backward(grad_z, grad_kl, mu, logvar, drawn)


def _normal(
    shape: Sequence[int], key: int, step: Tensor, row_offset: int, dtype: torch.dtype
) -> Tensor:
    return noise.draw("normal", shape, key, step, row_offset, dtype)


def _uniform(
    shape: Sequence[int], key: int, step: Tensor, row_offset: int, dtype: torch.dtype
) -> Tensor:
    return noise.draw("uniform", shape, key, step, row_offset, dtype)


for _name, _kernel in {
    "bce_with_logits": reference.bce_with_logits,
    "bce_with_logits_backward": reference.bce_with_logits_backward,
    "reparam_kl": _reparam_kl,
    "reparam_kl_backward": _reparam_kl_backward,
    "normal": _normal,
    "uniform": _uniform,
}.items():
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")


# Shapes, for FakeTensor and torch.compile.


@register_fake("gentool::bce_with_logits")
def _(logits: Tensor, target: Tensor) -> Tensor:
    return logits.new_empty(logits.shape[0], dtype=_sum_dtype(logits))


@register_fake("gentool::bce_with_logits_backward")
def _(grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    return torch.empty_like(logits)


@register_fake("gentool::reparam_kl")
def _(mu: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return mu.new_empty(mu.shape), mu.new_empty(mu.shape[0], dtype=_sum_dtype(mu))


@register_fake("gentool::reparam_kl_backward")
def _(grad_z: Tensor, grad_kl: Tensor, mu: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return mu.new_empty(mu.shape), mu.new_empty(mu.shape)


@register_fake("gentool::normal")
@register_fake("gentool::uniform")
def _(shape: Sequence[int], key: int, step: Tensor, row_offset: int, dtype: torch.dtype) -> Tensor:
    return step.new_empty(tuple(shape), dtype=dtype)


# Gradients. Only inputs are saved: ε is drawn again from its address.


def _save_bce(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _grad_bce(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ops.gentool.bce_with_logits_backward(grad, *ctx.saved_tensors), None


def _save_reparam(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    mu, logvar, eps, ctx.key, step, ctx.row_offset = inputs
    ctx.save_for_backward(mu, logvar, eps, step)


def _grad_reparam(ctx: Any, grad_z: Tensor, grad_kl: Tensor) -> tuple[Any, ...]:
    mu, logvar, eps, step = ctx.saved_tensors
    grads = torch.ops.gentool.reparam_kl_backward(
        grad_z, grad_kl, mu, logvar, eps, ctx.key, step, ctx.row_offset
    )
    return (*grads, None, None, None, None)


register_autograd("gentool::bce_with_logits", _grad_bce, setup_context=_save_bce)
register_autograd("gentool::reparam_kl", _grad_reparam, setup_context=_save_reparam)


def _refuse(name: str) -> Any:
    def backward(ctx: Any, *grads: Any) -> None:
        raise RuntimeError(
            f"gentool.ops.{name} has no second derivative; where one is needed, use "
            f"gentool.ops.reference.{name}, which is differentiable any number of times"
        )

    return backward


register_autograd("gentool::bce_with_logits_backward", _refuse("bce_with_logits"))
register_autograd("gentool::reparam_kl_backward", _refuse("reparam_kl"))
