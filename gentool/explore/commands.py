"""The `gentool …` line that makes what is on the screen."""

from __future__ import annotations

import shlex

import numpy as np
from torch import Tensor


def line(verb: str, *words: str | None) -> str:
    """A command as a shell takes it; words that are None are left out."""
    return " ".join(["gentool", verb, *(shlex.quote(w) for w in words if w is not None)])


def literal(z: Tensor) -> str:
    """One latent as a POINT: ``z:0.25,-1.5``, the shortest digits that give the same float32."""
    values = z.detach().cpu().float().flatten().numpy().astype(np.float32)
    return "z:" + ",".join(str(v) for v in values)
