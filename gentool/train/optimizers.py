"""Optimizers: the fastest form torch has of each, and their learning rates over time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gentool import torch_internals
from gentool.model import OptimizerSpec

LEAN = frozenset({"lr", "betas", "eps", "weight_decay", "maximize"})
"""The arguments that `LeanAdam` knows; with any other, torch's own step runs."""


class LeanAdam(torch.optim.Adam):
    """torch's fused Adam for the CPU, without the bookkeeping that costs as much as its kernel.

    Kernel, state and results are torch's. The lists that the kernel takes are made once, and all
    parameters share one counter. Where a gradient is missing, torch's own step runs.
    """

    # No compiled graph contains this optimizer, so torch's compiler need not be imported for it.
    _first_step = torch_internals.uncompiled(torch.optim.Adam.step)
    add_param_group = torch_internals.uncompiled(torch.optim.Adam.add_param_group)
    state_dict = torch_internals.uncompiled(torch.optim.Adam.state_dict)
    _load = torch_internals.uncompiled(torch.optim.Adam.load_state_dict)

    _state_lists: tuple[list[Tensor], list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        (group,) = self.param_groups
        parameters = group["params"]
        grads = [p.grad for p in parameters]
        complete = not any(g is None for g in grads)
        if self._state_lists is None or not complete:
            self._count_apart()
            self._first_step()
            self._state_lists = self._gathered() if complete else None
            return
        exp_avgs, exp_avg_sqs, counters = self._state_lists
        counters[0].add_(1)
        beta1, beta2 = group["betas"]
        own = {k: group[k] for k in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
        assert torch_internals.FUSED_ADAM is not None
        torch_internals.FUSED_ADAM(
            parameters, grads, exp_avgs, exp_avg_sqs, [], counters, beta1=beta1, beta2=beta2, **own
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for p in self.param_groups[0]["params"]:
            p.grad = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace the state; the next step makes its lists anew."""
        self._state_lists = None
        self._load(state_dict)

    def _gathered(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]] | None:
        """Both moments and the counter of every parameter; None where some count differently."""
        entries = [self.state[p] for p in self.param_groups[0]["params"]]
        counters = [e["step"] for e in entries]
        if len({float(c) for c in counters}) > 1:
            return None
        for entry in entries:
            entry["step"] = counters[0]
        moments = [[e[k] for e in entries] for k in ("exp_avg", "exp_avg_sq")]
        return moments[0], moments[1], [counters[0]] * len(entries)

    def _count_apart(self) -> None:
        for entry in self.state.values():
            entry["step"] = entry["step"].clone()


def make_optimizer(
    spec: OptimizerSpec,
    parameters: Iterable[nn.Parameter],
    device: torch.device,
    scaled: bool = False,
) -> torch.optim.Optimizer:
    """The fastest implementation torch has of the optimizer: fused, else for-each.

    On CUDA the learning rate is a tensor and the state lies on the device, so that a captured
    step sees what changes. `scaled` says that a loss scaler may skip steps: fused SGD that skips
    its first goes on with a momentum that was never written.
    """
    parameters = list(parameters)
    kind = getattr(torch.optim, spec.kind)
    arguments: dict[str, Any] = {**spec.arguments, "lr": spec.lr}
    lean = spec.kind == "Adam" and device.type == "cpu" and not scaled
    lean = lean and torch_internals.FUSED_ADAM is not None
    if lean and arguments.keys() <= LEAN and all(p.is_floating_point() for p in parameters):
        return LeanAdam(parameters, fused=True, **arguments)
    if device.type == "cuda":
        arguments["lr"] = torch.tensor(spec.lr, device=device)
        if "capturable" in inspect.signature(kind).parameters:
            arguments["capturable"] = True
    try:
        optimizer = kind(parameters, fused=not (scaled and spec.kind == "SGD"), **arguments)
    except (TypeError, RuntimeError):  # RMSprop has no fused form; nor have some devices
        optimizer = kind(parameters, foreach=True, **arguments)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def lr_factor(schedule: str, warmup: int, update: int, total: int) -> float:
    """What a learning rate is multiplied by at an update, in [0, 1].

    Linear warm-up over the first `warmup` updates, then constant, or falling to 0 at `total`
    along a line or half a cosine (Loshchilov & Hutter 2017).
    """
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "constant" or total <= warmup:
        return 1.0
    done = min(1.0, (update - warmup) / (total - warmup))
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def milestone_factor(milestones: Iterable[int], gamma: float, epochs: float) -> float:
    """γ to the number of milestones that are behind, after so many epochs of training."""
    return gamma ** sum(epochs >= m for m in milestones)
