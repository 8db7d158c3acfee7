"""Metropolis-within-Gibbs for values missing from x (Mattei & Frellsen 2018, arXiv:1802.04826).

The state is z and the missing values. One step does one of two things:

    mostly   z' ~ q(z|x_seen, x_missing), accepted with
             min(1, [p(x|z') p(z') q(z|x)] / [p(x|z) p(z) q(z'|x)])
    a share  z' ~ p(z), accepted with min(1, p(x_seen|z') / p(x_seen|z))

and then draws x_missing ~ p(x|z). The encoder proposes what fits the values that are missing by
now, so on its own it seldom leaves them; draws of the prior, judged without them, do (Simkus &
Gutmann 2023, arXiv:2308.09078). Both moves leave p(z, x_missing | x_seen) as it is, the second
since x_missing is integrated out in it and drawn anew at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.model import Explains, Infers
from gentool.noise import Noise
from gentool.restore.samplers.base import Chains, Kernel
from gentool.restore.target import ROWS, Target

SHARE = 0.2
"""Of proposals that come from the prior."""


class MetropolisWithinGibbs(Kernel):
    """For models with an encoder that is a distribution, of values that are merely missing."""

    name = "gibbs"

    def __init__(self, target: Target, chains: int, share: float = SHARE) -> None:
        """Raises UserError where the model or the measurement does not allow it.

        Args:
            share: of proposals from the prior, in [0, 1].
        """
        super().__init__(target, chains)
        model = target.model
        if not (target.exact and isinstance(model, Infers) and target.whitening.standard):
            raise UserError(
                "Metropolis-within-Gibbs is for missing pixels, without --noise, of models with an "
                "encoder and a likelihood; use --sampler hmc or slice"
            )
        self.share = share
        self.full: Tensor | None = None  # x with its missing values, (M, *shape)

    def step(self, state: Chains, noise: Noise) -> Tensor:
        u, m = state.u, len(state.u)
        if self.full is None:
            self.full = self._filled(state, noise, "first")
        mu, logvar = self._inferred(self.full, state.labels)
        deviation = torch.exp(0.5 * logvar)
        eps = noise.normal("proposal", tuple(u.shape)).to(u.dtype)
        encoded = mu + deviation * eps
        global_move = noise.uniform("kind", (m,)) < self.share
        global_move = global_move.to(u.device)
        proposed = torch.where(global_move[:, None], eps, encoded)

        value = self.target.log_likelihood(proposed, state.rows, state.labels)
        # log p(x|z') p(z') − log q(z'|x), less the same at z; (2π)^{D/2} cancels.
        there = self._missing(proposed, state.labels) - 0.5 * proposed.square().sum(1)
        here = self._missing(u, state.labels) - 0.5 * u.square().sum(1)
        back = -0.5 * ((u - mu) / deviation).square().sum(1)
        forth = -0.5 * eps.square().sum(1)
        local = there - here + back - forth
        ratio = value - state.value + torch.where(global_move, 0.0, local)
        accept = torch.exp(ratio.nan_to_num(nan=-torch.inf).clamp(max=0))
        moved = noise.uniform("accept", (m,)).to(accept) < accept
        state.where(moved, proposed, value)
        self.full = self._filled(state, noise, "missing")
        return accept

    def _missing(self, u: Tensor, labels: Tensor | None) -> Tensor:
        """log p(x_missing|z), (M,)."""
        target, parts = self.target, []
        assert isinstance(target.model, Explains) and self.full is not None
        for rows in _slices(len(u), target):
            chosen = None if labels is None else labels[rows]
            each = target.model.explain(self.full[rows], target.whitening.to_z(u[rows]), chosen)
            parts.append(torch.where(target.measured, 0, each).flatten(1).sum(1))
        self.target.decoded += len(u)
        return torch.cat(parts)

    def _filled(self, state: Chains, noise: Noise, stream: str) -> Tensor:
        """What was seen, with x_missing ~ p(x|z)."""
        target, parts = self.target, []
        drawing = Noise(noise.seed, f"{noise.scope}/{stream}", noise.step, noise.device)
        for i, rows in enumerate(_slices(len(state.u), target)):
            z = target.whitening.to_z(state.u[rows])
            chosen = None if state.labels is None else state.labels[rows]
            own = Noise(drawing.seed, f"{drawing.scope}/{i}", drawing.step, drawing.device)
            x = target.model.sample(z, chosen, own)
            parts.append(torch.where(target.measured, target.seen[state.rows[rows]], x))
        return torch.cat(parts)

    def _inferred(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        assert isinstance(self.target.model, Infers)
        mu, logvar = self.target.model.infer(x, labels)
        return mu.flatten(1), logvar.flatten(1)


def _slices(m: int, target: Target) -> list[slice]:
    size = ROWS.get(target.device.type, ROWS["cuda"])
    return [slice(i, i + size) for i in range(0, m, size)]
