"""Which library multiplies fp32 matrices on the CPU."""

from __future__ import annotations

import torch

from gentool.ops.cpu import cpu_facts, cpu_flags

_precision = getattr(torch.backends.mkldnn, "matmul", None)


def choose_matmul(device: torch.device) -> None:
    """Let oneDNN multiply where torch's own choice leaves half of the processor unused.

    torch multiplies fp32 matrices with MKL, which stops at AVX2 on AMD's processors; oneDNN goes
    on to AVX-512 and needs half the time. torch asks oneDNN only with leave to round the factors
    to bf16. Without AMX it has no use for that leave; `is_exact` makes sure, and takes the leave
    back where it does. The setting is the process's; `torch.get_float32_matmul_precision` raises
    RuntimeError meanwhile, since it knows one setting for all libraries.
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


def is_exact() -> bool:
    """Whether products keep fp32's 24 bits, in the three layouts of a linear layer's passes."""
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(s, generator=generator) for s in ((64, 96), (80, 96), (64, 80)))
    for a, b in ((x, weight.T), (grad, weight), (grad.T, x)):
        exact = a.double() @ b.double()
        if (a @ b - exact).norm() > 1e-5 * exact.norm():  # bf16 is off by 3e-3
            return False
    return True


def _is_left_at_avx2() -> bool:
    """An AMD processor with AVX-512 (bf16, which torch asks for) and without AMX."""
    flags = cpu_flags()
    amd = cpu_facts().get("vendor_id") == "AuthenticAMD"
    return amd and "avx512_bf16" in flags and not any(f.startswith("amx") for f in flags)
