"""What torch has but does not promise: every use of it, each with a way that torch promises.

A release of torch without one of these costs speed, never a result. Tests compare both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

FUSED_ADAM: Callable[..., None] | None = getattr(torch, "_fused_adam_", None)
"""The kernel under ``torch.optim.Adam(fused=True)``; without it, that optimizer itself runs."""

FOREACH = hasattr(torch, "_foreach_norm") and hasattr(torch, "_foreach_clamp_min_")
"""Whether one call can treat many tensors."""


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Euclidean norm of each tensor, a scalar of its dtype."""
    if FOREACH:
        return list(torch._foreach_norm(list(tensors)))
    return [torch.linalg.vector_norm(t) for t in tensors]


def uncompiled(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an optimizer without torch's wrapper, which keeps it out of compiled graphs.

    The wrapper imports the compiler when it is first called, a second of processor time. Only for
    an optimizer that no compiled graph contains.
    """
    plain: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return plain


@torch.no_grad()
def clamp_(tensors: Sequence[Tensor], low: float, high: float) -> None:
    """Clip every value of every tensor into [low, high], in place."""
    if FOREACH:
        torch._foreach_clamp_min_(list(tensors), low)
        torch._foreach_clamp_max_(list(tensors), high)
        return
    for tensor in tensors:
        tensor.clamp_(low, high)


def compile_backward_at_once() -> None:
    """Have the backward pass compiled with the forward, while failing still costs nothing.

    Without this setting it is compiled when it first runs, and what fails there ends the step.
    """
    import torch._functorch.config as aot

    if hasattr(aot, "force_non_lazy_backward_lowering"):
        aot.force_non_lazy_backward_lowering = True


def let_rows_vary(tensor: Tensor) -> None:
    """Let one compiled graph serve every length of `tensor`; torch would make two otherwise."""
    import torch._dynamo

    mark: Callable[[Any, int], None] | None = getattr(
        torch._dynamo, "maybe_mark_dynamic", getattr(torch._dynamo, "mark_dynamic", None)
    )
    if mark is not None:
        mark(tensor, 0)


def compile_errors() -> tuple[type[Exception], ...]:
    """What compiling may raise, beside the errors of what is compiled."""
    from torch._dynamo import exc

    names = ("TorchDynamoException", "FailOnRecompileLimitHit")
    return tuple(getattr(exc, name) for name in names if hasattr(exc, name)) or (RuntimeError,)


def is_recompile_limit(error: Exception) -> bool:
    """Whether compiling ended because every step asked for a graph of its own."""
    return type(error).__name__ == "FailOnRecompileLimitHit"
