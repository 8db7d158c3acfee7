"""The operations as they are called: arguments checked, then one call into `library`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from gentool.ops import library, native, noise, philox, reference  # noqa: F401  (library registers)

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def bce_with_logits(logits: Tensor, target: Tensor) -> Tensor:
    """The reconstruction loss of a Bernoulli decoder, summed over each sample, in nats.

    Σ softplus(x) − x·t for logits x and targets t, stable for every finite x; infinities and NaN
    give what PyTorch's ``binary_cross_entropy_with_logits`` gives. Differentiable once, with
    respect to the logits.

    Args:
        logits: (N, …) float32, float16, bfloat16 or float64; computed in float32 (float64).
        target: the shape of logits; floating in [0, 1], or uint8 read as t/255.

    Returns:
        (N,) float32, or float64 for float64 logits.

    Raises:
        TypeError, ValueError: an argument of another dtype, shape or device, or a target that
            requires a gradient.
    """
    _check_float("logits", logits)
    _check_rows("logits", logits)
    if target.dtype not in (*_FLOATS, torch.uint8):
        raise TypeError(f"target must be floating or uint8, got {target.dtype}")
    _check_like("target", target, "logits", logits)
    _check_constant("target", target)
    if torch.compiler.is_compiling() and not native.serves(logits.device.type):
        return reference.bce_with_logits(logits, target)  # an opaque call would not be fused
    losses: Tensor = torch.ops.gentool.bce_with_logits(logits, target)
    return losses


@overload
def reparam_kl(
    mu: Tensor, logvar: Tensor, seed: int, stream: int, step: Tensor | int, row_offset: int = 0
) -> tuple[Tensor, Tensor]: ...


@overload
def reparam_kl(mu: Tensor, logvar: Tensor, *, eps: Tensor) -> tuple[Tensor, Tensor]: ...


def reparam_kl(
    mu: Tensor,
    logvar: Tensor,
    seed: int = 0,
    stream: int = 0,
    step: Tensor | int | None = None,
    row_offset: int = 0,
    *,
    eps: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A sample of q = N(μ, σ²) and each sample's KL(q ‖ N(0, 1)), in one pass.

    z = μ + exp(logvar/2)·ε and KL = ½ Σ (σ² + μ² − 1 − logvar), Kingma and Welling (2014),
    appendix B. ε is `normal(mu.shape, seed=…, stream=…, step=…)`, drawn again in the backward
    pass and never stored, or the tensor `eps`. Differentiable once, with respect to mu and logvar.

    Args:
        mu, logvar: (N, …) float32, float16, bfloat16 or float64; computed in float32 (float64).
        seed, stream: 64-bit integers that address the noise; see `stream_id`.
        step: int64 scalar tensor on the device of mu; an int is copied there.
        row_offset: the global number of the first row.
        eps: the shape of mu; replaces the address.

    Returns:
        z like mu, contiguous; and (N,) float32 nats, or float64 for float64 inputs.

    Raises:
        TypeError, ValueError: an argument of another dtype, shape or device, an `eps` that
            requires a gradient, or neither or both of `step` and `eps`.
    """
    _check_float("mu", mu)
    _check_float("logvar", logvar)
    _check_rows("mu", mu)
    _check_like("logvar", logvar, "mu", mu)
    if mu.dtype != logvar.dtype:
        wider = torch.promote_types(mu.dtype, logvar.dtype)
        mu, logvar = mu.to(wider), logvar.to(wider)
    if (step is None) == (eps is None):
        raise ValueError("reparam_kl takes either step (with seed and stream) or eps")
    key = 0
    if eps is not None:
        _check_float("eps", eps)
        _check_like("eps", eps, "mu", mu)
        _check_constant("eps", eps)
    else:
        _check_offset(row_offset)
        key = noise.signed64(philox.key_of(seed, stream))
        step = _step_tensor(step, mu.device)
    if torch.compiler.is_compiling() and not native.serves(mu.device.type):
        if eps is None:
            eps = torch.ops.gentool.normal(mu.shape, key, step, row_offset, torch.float32)
        return reference.reparam_kl(mu, logvar, eps)
    result: tuple[Tensor, Tensor] = torch.ops.gentool.reparam_kl(
        mu, logvar, eps, key, step, row_offset
    )
    return result


def normal(
    shape: Sequence[int],
    *,
    seed: int,
    stream: int,
    step: Tensor | int,
    row_offset: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal noise addressed by (seed, stream, step); rows do not depend on their number.

    With native kernels for the device it is Philox, as `philox.normal`; without, on the CPU,
    another Philox with quicker sines and logarithms, which differ from machine to machine.

    Args:
        shape: (rows, …).
        seed, stream: 64-bit integers that address the noise; see `stream_id`.
        step: int64 scalar tensor on `device`, or an int.
        row_offset: the global number of the first row.
        device: by default that of step, or the CPU.
        dtype: float32, float16, bfloat16 or float64; drawn in float32.
    """
    return _draw(torch.ops.gentool.normal, shape, seed, stream, step, row_offset, device, dtype)


def uniform(
    shape: Sequence[int],
    *,
    seed: int,
    stream: int,
    step: Tensor | int,
    row_offset: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Uniform noise in [0, 1); arguments as `normal`."""
    return _draw(torch.ops.gentool.uniform, shape, seed, stream, step, row_offset, device, dtype)


def _draw(
    op: torch._ops.OpOverloadPacket,
    shape: Sequence[int],
    seed: int,
    stream: int,
    step: Tensor | int,
    row_offset: int,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> Tensor:
    if dtype not in _FLOATS:
        raise TypeError(f"dtype must be one of {_names(_FLOATS)}, got {dtype}")
    _check_offset(row_offset)
    if device is None:
        device = step.device if isinstance(step, Tensor) else "cpu"
    key = noise.signed64(philox.key_of(seed, stream))
    drawn: Tensor = op(
        tuple(shape), key, _step_tensor(step, torch.device(device)), row_offset, dtype
    )
    return drawn


def _step_tensor(step: Tensor | int | None, device: torch.device) -> Tensor:
    if not isinstance(step, Tensor):
        return torch.tensor(step, dtype=torch.int64, device=device)
    if step.dtype != torch.int64 or step.numel() != 1:
        raise TypeError(
            f"step must be an int64 tensor of one element, got {step.dtype} {tuple(step.shape)}"
        )
    if step.device.type != device.type or device.index not in (None, step.device.index):
        raise ValueError(f"step is on {step.device} and the noise is wanted on {device}")
    return step


def _check_float(name: str, x: Tensor) -> None:
    if x.dtype not in _FLOATS:
        raise TypeError(f"{name} must be one of {_names(_FLOATS)}, got {x.dtype}")


def _check_rows(name: str, x: Tensor) -> None:
    if x.dim() == 0:
        raise ValueError(f"{name} must be (N, …), one row a sample, got a scalar")


def _check_like(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    if x.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, expected that of {other_name}, "
            f"{tuple(other.shape)}"
        )
    if x.device != other.device:
        raise ValueError(f"{name} is on {x.device}, expected {other_name}'s {other.device}")


def _check_constant(name: str, x: Tensor) -> None:
    if x.requires_grad:
        raise ValueError(f"{name} requires a gradient, which this operation does not give; detach")


def _check_offset(row_offset: int) -> None:
    if not 0 <= row_offset < 2**48:
        raise ValueError(f"row_offset must be in [0, 2^48), got {row_offset}")


def _names(dtypes: Sequence[torch.dtype]) -> str:
    return ", ".join(str(d).removeprefix("torch.") for d in dtypes)
