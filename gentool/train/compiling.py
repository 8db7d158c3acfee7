"""``--compile``: a player's objective as one graph that torch.compile writes the code of.

The objective is compiled whole, networks, noise and loss together, or not at all. Compiling comes
before the first operation runs, so where it fails nothing has changed yet: the player says why, and
goes on as it would have without. A speed-up that is not to be had ends no training.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gentool import ops, torch_internals
from gentool.console import say, speaks
from gentool.model import Batch, Objective, Player, Step
from gentool.ops import cache, private

BACKEND: str | Callable[..., Any] = "inductor"
"""What turns a graph into code; tests take quicker ones, or count the graphs."""

KNOWN_FAILURES = (
    ("autograd.grad", "its objective differentiates a gradient, which torch.compile cannot do"),
    (
        "requires_grad_() call",
        "its objective differentiates a gradient, which torch.compile cannot do",
    ),
    ("double backward", "its objective differentiates a gradient, which torch.compile cannot do"),
    ("No working C++ compiler", "there is no C++ compiler; install g++ or clang, or set CXX"),
)
"""What torch's errors contain, and what that means for a person."""


class CompiledObjective:
    """A player's objective, compiled when it is first called; uncompiled where that fails."""

    def __init__(self, player: Player) -> None:
        self.player, self.backend = player, BACKEND
        self.failure: str | None = None
        self._compiled: Callable[[Batch, Step], Objective] | None = self._prepared()
        self._began = False

    def _prepared(self) -> Callable[[Batch, Step], Objective]:
        set_up()
        # Dropout draws what it draws uncompiled. CUDA graphs are `gentool.train.graph`'s.
        options: dict[str, Any] | None = None
        if self.backend == "inductor":
            options = {"fallback_random": True}
        whole = detached(self.player)
        return torch.compile(whole, fullgraph=True, backend=self.backend, options=options)

    def __call__(self, batch: Batch, step: Step) -> Objective:
        """The objective's value, differentiable once."""
        if self._compiled is None:
            return self.player.objective(batch, step)
        if not self._began:
            self._began = True
            say_on_main(f"compiling {self.player.name}; its first step takes longer")
        mark_rows(batch)
        try:
            return self._compiled(batch, step)
        except torch_internals.compile_errors() as error:
            objective = self.player.objective(batch, step)  # a fault of its own is raised here
            self._compiled, self.failure = None, reason(error)
            say_on_main(f"warning: {self.player.name} runs uncompiled: {self.failure}")
            return objective


def detached(player: Player) -> Callable[[Batch, Step], Objective]:
    """The objective with scalars that carry no gradient.

    A compiled backward pass goes through every output that has one, be it for a gradient of 0.
    """

    def whole(batch: Batch, step: Step) -> Objective:
        o = player.objective(batch, step)
        scalars = {k: v.detach() if isinstance(v, Tensor) else v for k, v in o.scalars.items()}
        return Objective(o.loss, scalars)

    # torch keeps its graphs, and counts them, by code object: each player gets one of its own.
    whole.__code__ = whole.__code__.replace(co_name=f"{player.name}_objective")
    return whole


def set_up() -> None:
    """Set torch's compiler up for objectives; the import alone takes a second."""
    keep_code_in(cache.directory().parent / "torch")  # before the import, which settles it
    torch_internals.compile_backward_at_once()
    # Names of noise streams are hashed when a graph is made: they are constants in it.
    torch.compiler.assume_constant_result(ops.stream_id)
    if "TORCH_LOGS" not in os.environ:  # what fails is told in one sentence
        for name in ("torch._dynamo", "torch._inductor"):
            logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="torch._dynamo")


def keep_code_in(folder: Path) -> None:
    """Have torch keep what it loads again in the user's own folder.

    By default that would be one beside everybody's temporary files. Torch unpickles and runs what
    it finds, so where others could put anything there it gets a new folder, for this process only.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    try:
        private.make_private(folder)
        own = private.named_by_others(folder) is None
    except (OSError, ValueError):
        own = False
    if not own:
        folder = Path(tempfile.mkdtemp(prefix="gentool-torch-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def mark_rows(batch: Batch) -> None:
    """Let one graph serve every number of rows, whichever comes first.

    Left to itself, torch makes a graph for the first size and another for all the others: an epoch
    would compile twice, and a resumed run might use another graph than the one it continues.
    """
    for tensor in (batch.x, batch.labels, batch.pixels, batch.attributes):
        if tensor is not None:
            torch_internals.let_rows_vary(tensor)


def reason(error: Exception) -> str:
    """Why something was not compiled, in one line."""
    if torch_internals.is_recompile_limit(error):
        return "a Python value in its objective changes from step to step; make it a tensor"
    error = getattr(error, "inner_exception", error)
    text = str(error).strip() or type(error).__name__
    for part, meaning in KNOWN_FAILURES:
        if part in text:
            return meaning
    frames = getattr(error, "real_stack", None)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return text.splitlines()[0].rstrip(".") + where


def say_on_main(message: str) -> None:
    """A line on stderr, from one of the processes."""
    if speaks():
        say(message)
