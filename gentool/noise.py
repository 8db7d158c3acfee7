"""Randomness as a function: every draw is determined by (seed, stream name, step).

Nothing has to be saved to repeat a draw. Training uses the fast noise of `gentool.ops`; sampling
from a trained model uses the exact integer arithmetic of `gentool.ops.philox` on the CPU, indexed
by row, so one seed gives one picture on every device and for every n.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from gentool import ops


class Key(TypedDict):
    """What determines one draw, as `gentool.ops` takes it."""

    seed: int
    stream: int
    step: Tensor
    row_offset: int


class Noise:
    """The named random streams of one step. A name may be used once a step."""

    def __init__(
        self,
        seed: int,
        scope: str,
        step: Tensor,
        device: torch.device | str = "cpu",
        *,
        row_offset: int = 0,
        exact: bool = False,
    ) -> None:
        """
        Args:
            scope: prefix of the stream names, e.g. the player's name.
            step: int64 scalar tensor; in device memory, so that a captured step can be replayed.
            row_offset: index of the first row within the whole batch; slices of a batch draw
                their own rows of the same noise.
            exact: draw on the CPU by the portable Philox, whatever the device.
        """
        self.seed, self.scope, self.step = seed, scope, step
        self.device, self.row_offset, self.exact = torch.device(device), row_offset, exact
        self._used: set[str] = set()

    def key(self, name: str) -> Key:
        """Claim the stream `name` for an op that draws by itself, as ``**noise.key("z")``."""
        if name in self._used:
            raise RuntimeError(
                f"the random stream {name!r} is drawn twice in one step, which would give the "
                "same numbers twice; give the second draw another name"
            )
        self._used.add(name)
        return {
            "seed": self.seed,
            "stream": ops.stream_id(f"{self.scope}/{name}"),
            "step": self.step,
            "row_offset": self.row_offset,
        }

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Independent N(0, 1), float32, of `shape`; its first dimension counts rows."""
        if self.exact:
            return ops.philox.normal(shape, **self.key(name)).to(self.device)
        return ops.normal(shape, **self.key(name), device=self.device)

    def uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Independent U[0, 1), float32, of `shape`; its first dimension counts rows."""
        if self.exact:
            return ops.philox.uniform(shape, **self.key(name)).to(self.device)
        return ops.uniform(shape, **self.key(name), device=self.device)


def sampling_noise(seed: int, device: torch.device | str = "cpu", row_offset: int = 0) -> Noise:
    """The noise that samples are drawn with: the same numbers on every device."""
    step = torch.zeros((), dtype=torch.int64)
    return Noise(seed, "sample", step, device, row_offset=row_offset, exact=True)
