"""Which library multiplies fp32 matrices on the CPU, and the proof that it does not round more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gentool.ops.cpu import cpu_facts, cpu_flags

_precision = getattr(torch.backends.mkldnn, "matmul", None)

ROWS = 64
"""Rows of a product that are compared with float64."""


def choose_matmul(device: torch.device) -> None:
    """Let oneDNN multiply where torch's own choice leaves half of the processor unused.

    torch multiplies fp32 matrices with MKL, which stops at AVX2 on AMD's processors; oneDNN goes
    on to AVX-512 and needs half the time. torch asks oneDNN only with leave to round the factors
    to bf16. Without AMX it has no use for that leave; `is_exact` makes sure, and takes the leave
    back where it does. The setting is the process's; `torch.get_float32_matmul_precision` raises
    RuntimeError meanwhile, since it knows one setting for all libraries.

    A training proves it again on its own products; see `prove_matmul`.
    """
    if device.type != "cpu" or _precision is None or not _is_left_at_avx2():
        return
    _precision.fp32_precision = "bf16"
    if not is_exact():
        leave_matmul_to_torch()


def leave_matmul_to_torch() -> None:
    """Undo `choose_matmul`."""
    if _precision is not None:
        _precision.fp32_precision = "none"


def matmul_library() -> str:
    """Whose choice multiplies fp32 matrices on the CPU: ``oneDNN``, or torch's ``default``."""
    chosen = _precision is not None and _precision.fp32_precision == "bf16"
    return "oneDNN" if chosen else "default"


def prove_matmul(work: Iterable[Callable[[], Any]]) -> None:
    """Leave multiplying to torch unless oneDNN is exact in every product that `work` makes.

    oneDNN picks its kernel by the shapes of the factors, so one exact product proves no other.
    Where `work` fails nothing is proved, and torch multiplies.
    """
    if matmul_library() != "oneDNN":
        return
    seen = Products()
    try:
        for piece in work:
            with seen:
                piece()
    except Exception:  # training itself will say what is wrong
        leave_matmul_to_torch()
        return
    if not all(is_exact(*factors) for factors in seen.factors.values()):
        leave_matmul_to_torch()


class Products(TorchFunctionMode):
    """Notes the factors of every fp32 product that is made while it is on, one pair a shape.

    Beside them stands whether gradients are recorded, so that a backward pass follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.factors: dict[tuple[Any, ...], tuple[Tensor, Tensor, bool]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        pair = _factors(func, args)
        if pair is not None and all(t.dtype == torch.float32 and t.dim() > 1 for t in pair):
            a, b = (t.detach() for t in pair)
            key = (a.shape, a.stride(), b.shape, b.stride())
            backward = torch.is_grad_enabled()
            if key not in self.factors or (backward and not self.factors[key][2]):
                self.factors[key] = (a, b, backward)
        return func(*args, **(kwargs or {}))


PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm}
PRODUCTS |= {Tensor.bmm}
SUMS_OF_PRODUCTS = {torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm}


def _factors(func: Any, args: tuple[Any, ...]) -> tuple[Tensor, Tensor] | None:
    """The two factors of a call that multiplies matrices."""
    if func is F.linear:
        return args[0].flatten(0, -2), args[1].mT
    if func in PRODUCTS:
        return args[0], args[1]
    if func in SUMS_OF_PRODUCTS:
        return args[1], args[2]
    return None


def is_exact(a: Tensor | None = None, b: Tensor | None = None, backward: bool = True) -> bool:
    """Whether products keep fp32's 24 bits: a·b and both products of its backward pass.

    Args:
        a, b: factors (…, n, k) and (…, k, m), whose shapes and strides matter and values do not;
            by default those of a small linear layer.
        backward: whether there is a backward pass.
    """
    generator = torch.Generator().manual_seed(0)
    if a is None or b is None:
        a, b = torch.empty(64, 96), torch.empty(80, 96).mT
    x, w = (_random_like(t, generator) for t in (a, b))
    if not backward:
        return _product_is_exact(x, w)
    grad = torch.randn((x @ w).shape, generator=generator)
    return all(_product_is_exact(p, q) for p, q in ((x, w), (grad, w.mT), (x.mT, grad)))


def _product_is_exact(a: Tensor, b: Tensor) -> bool:
    product = a @ b
    step = max(1, a.shape[-2] // ROWS)
    exact = a[..., ::step, :].double() @ b.double()
    # Factors rounded to bf16 are off by 3e-3, fp32's own sums by about 1e-7 √k.
    tolerance = min(1e-3, 1e-5 * max(1.0, math.sqrt(a.shape[-1] / 4096)))
    error = (product[..., ::step, :] - exact).norm()
    return bool(error <= tolerance * exact.norm())


def _random_like(t: Tensor, generator: torch.Generator) -> Tensor:
    """Random values in the same shape and, where they do not overlap in memory, strides."""
    values = torch.randn(t.shape, generator=generator)
    if 0 in t.stride():
        return values
    return torch.empty_strided(t.shape, t.stride()).copy_(values)


def _is_left_at_avx2() -> bool:
    """An AMD processor with AVX-512 (bf16, which torch asks for) and without AMX."""
    flags = cpu_flags()
    amd = cpu_facts().get("vendor_id") == "AuthenticAMD"
    return amd and "avx512_bf16" in flags and not any(f.startswith("amx") for f in flags)
