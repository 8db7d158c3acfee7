"""Means of what a player logs, summed on the device and read back rarely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.train.distributed import World

FIXED = 3
"""Entries of packed `Totals` that are no scalar's."""


class Totals(NamedTuple):
    """The sums since the last row of the log. They travel, and are saved, as one vector.

    Attributes:
        sums: of each scalar, times the examples it is the mean of; (number of scalars,).
        norms: the sum of gradient norms, and how many there were; (2,).
        examples: how many went into `sums`; (1,).
    """

    sums: Tensor
    norms: Tensor
    examples: Tensor

    def packed(self) -> Tensor:
        """All in one vector, (number of scalars + 3,)."""
        return torch.cat(list(self))

    @classmethod
    def unpacked(cls, vector: Tensor) -> Totals:
        """The inverse of `packed`."""
        return cls(*vector.split([len(vector) - FIXED, 2, 1]))


class RunningMeans:
    """What one player logged since the last row: its scalars, and its gradient's norm."""

    def __init__(self, world: World) -> None:
        self.world, self.device = world, world.device
        self.names: tuple[str, ...] = ()
        wide = accumulator_dtype(self.device)
        self.sums = torch.zeros(0, dtype=wide, device=self.device)
        self.norms = torch.zeros(2, dtype=wide, device=self.device)
        self._restored = False  # names come from a file, and nothing was added yet
        self.examples = 0  # counted by the host, which a captured step does not run

    def add(self, scalars: Mapping[str, Any], n: int) -> None:
        """Add means over n examples, on the device; nothing is read back here."""
        values = torch.stack([as_scalar(name, v, self.device) for name, v in scalars.items()])
        if self._restored:
            self._require_names(tuple(scalars))
        if not self.names:
            self.names = tuple(scalars)
            self.sums = torch.zeros_like(values, dtype=self.norms.dtype)
        self.sums.add_(values, alpha=n)

    def _require_names(self, names: tuple[str, ...]) -> None:
        """Raise UserError where the checkpoint's sums are of other scalars than the model's."""
        if names != self.names:
            raise UserError(
                "the checkpoint has sums of other scalars than the model logs "
                f"({printable(', '.join(self.names), 80)}; not {', '.join(names)}); the plugin may "
                "be another version: install the one that the run was trained with"
            )
        self._restored = False

    def add_norm(self, norm: Tensor, counts: Tensor) -> None:
        """Add a gradient's norm where `counts`, a boolean scalar on the device, says so."""
        self.norms.add_(torch.stack([torch.where(counts, norm, 0.0), counts.to(norm.dtype)]))

    def running(self, name: str) -> float | None:
        """The mean of one scalar so far, on this process alone; waits for the device."""
        if not self.examples:
            return None
        return self.sums[self.names.index(name)].item() / self.examples

    def totals(self) -> Tensor:
        """The packed `Totals` over all processes, all of which call this."""
        examples = torch.full_like(self.norms[:1], self.examples)
        vector = Totals(self.sums, self.norms, examples).packed()
        self.world.sum_([vector])
        return vector

    def take(self) -> dict[str, float]:
        """The means over all processes, and a fresh start; waits for the device."""
        totals = Totals.unpacked(self.totals())
        sums, (norm, norms), (examples,) = (part.tolist() for part in totals)
        means = {k: v / examples for k, v in zip(self.names, sums, strict=True)} if examples else {}
        if norms:
            means["grad_norm"] = norm / norms
        self.sums.zero_()
        self.norms.zero_()
        self.examples = 0
        return means

    def restore(self, names: tuple[str, ...], vector: Tensor) -> None:
        """Go on from the names and packed `totals` of a checkpoint."""
        vector = vector.to(self.device)
        if not self.world.is_main:  # the first process carries the sums of all
            vector = torch.zeros_like(vector)
        totals = Totals.unpacked(vector)
        self.norms.copy_(totals.norms)
        self.examples = int(totals.examples)
        self._restored = bool(names)
        self.names, self.sums = names, totals.sums.clone()


def as_scalar(name: str, value: Any, device: torch.device) -> Tensor:
    """A logged value without its graph; raises TypeError where it is no scalar."""
    scalar = value if isinstance(value, Tensor) else torch.tensor(float(value), device=device)
    if scalar.dim():
        raise TypeError(f"the scalar {name!r} has shape {tuple(scalar.shape)}; log its mean")
    return scalar.detach()


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """What sums are kept in; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
