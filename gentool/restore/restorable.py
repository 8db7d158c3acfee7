"""A loaded model that can also restore: what `gentool.load` returns.

>>> model = gentool.load("runs/vae-mnist-001")
>>> y = model.spoil(images, "missing:bottom").y
>>> found = model.restore(y, "missing:bottom", samples=8)      # .samples, .mean, .std
>>> found.draws.rhat, found.draws.effective
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gentool.latent import playable
from gentool.latent.playable import PlayableModel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gentool.restore.measurement import Measurement
    from gentool.restore.operators.base import Operator
    from gentool.restore.restoration import Restoration


@dataclass(frozen=True)
class RestorableModel(PlayableModel):
    """A trained model, ready to sample, to be played with and to restore what is missing."""

    def operator(self, operator: Operator | str | Sequence[str], seed: int = 0) -> Operator:
        """The operator that ``"missing:left"`` or ``["grey", "scale:4"]`` name, for this model.

        The names act one after the other; `seed` is of what is random about them.
        """
        from gentool.restore.operators.base import Operator
        from gentool.restore.operators.registry import build_all

        if isinstance(operator, Operator):
            return operator
        names = [operator] if isinstance(operator, str) else list(operator)
        return build_all(names, self.model.data.shape, seed)

    def spoil(
        self,
        x: Tensor,
        operator: Operator | str | Sequence[str],
        *,
        noise: float | None = None,
        seed: int = 0,
    ) -> Measurement:
        """y = A x + ε of clean images x (N, *shape); see `gentool.restore.measurement`."""
        from gentool.restore.measurement import measure

        return measure(x, self.operator(operator, seed), noise, seed)

    def restore(
        self,
        y: Tensor,
        operator: Operator | str | Sequence[str],
        *,
        noise: float | None = None,
        samples: int = 8,
        seed: int = 0,
        **how: Any,
    ) -> Restoration:
        """Restorations of what is left of N images: draws of p(x|y).

        Args:
            y: (N, *operator.out_shape), for example from `spoil`.
            operator: what happened to the images.
            noise: standard deviation of y's noise; None: see `gentool.restore.measurement`.
            samples: restorations an image.
            how: `method`, `sampler`, `schedule` and more, as `gentool.restore.restoration.restore`
                takes them.

        Raises:
            UserError: where the shapes do not fit, or the model does not allow what is asked.
        """
        from gentool.restore.measurement import Measurement
        from gentool.restore.posterior import Schedule
        from gentool.restore.restoration import restore

        how.setdefault("schedule", Schedule(seed=seed))
        seen = Measurement(self.operator(operator, seed), y, noise)
        return restore(self.model, seen, samples=samples, **how)


def load(
    path: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> RestorableModel:
    """Load a trained model from a run directory or a ``model.safetensors``.

    Args:
        path: a run, a file, or None for the latest run below the working directory.

    Raises:
        UserError: where the file is missing, damaged, not gentool's, or its plugin is not here.
    """
    found = playable.load(path, device)
    return RestorableModel(**vars(found))
