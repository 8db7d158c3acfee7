"""The game that a model's players play: rounds of updates, and everything that these change."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from gentool.devices import copied
from gentool.model import Model, Player
from gentool.torch_internals import norms
from gentool.train.batches import Draw
from gentool.train.checks import check_checkpoint
from gentool.train.distributed import World
from gentool.train.ema import EMA
from gentool.train.player import PlayerState, freeze_all_but
from gentool.train.settings import TrainSettings
from gentool.train.state import Checkpoint
from gentool.train.threads import StepThreads


class Rounds:
    """When the rounds of a first player end: a function of the step alone."""

    def __init__(self, player: Player) -> None:
        self.player, self._number, self._end = player, -1, 0

    def end_at(self, step: int) -> bool:
        """Whether a round is over after so many steps of the first player."""
        steps, of_round = self.player.steps, self.player.steps_of_round
        if of_round is None:
            return step % steps == 0
        if step < self._end:  # asked for an earlier step than before
            self._number, self._end = -1, 0
        while self._end < step:
            self._number += 1
            self._end += max(1, of_round(self._number))
        return self._end == step

    def within(self, total: int) -> int:
        """How many rounds end within so many steps."""
        if self.player.steps_of_round is None:
            return total // self.player.steps
        return sum(self.end_at(step) for step in range(1, total + 1))


class Game:
    """A model, its players and their moving average.

    A step is one update of the first player, with one fresh batch; after every round of its
    updates the other players take theirs. The round and its position follow from the step alone.

    Attributes:
        step: steps taken.
        best: the lowest score so far; None before the first.
    """

    def __init__(
        self, model: Model, settings: TrainSettings, world: World, total: int, per_epoch: int
    ) -> None:
        """
        Args:
            total: steps in the whole training.
            per_epoch: steps an epoch.
        """
        self.model, self.world = model, world
        self.step = 0
        self.best: float | None = None
        self.players = _players(model, settings, world, total, per_epoch)
        self.rounds = Rounds(self.players[0].player)
        self.average: EMA | None = None
        if settings.ema is not None:
            self.average = EMA(model, settings.ema, settings.ema_warmup)
        self.threads: StepThreads | None = None

    def take_step(self, draw: Draw) -> None:
        """One update of the first player, and the others' turn where its round is over."""
        with self.threads or nullcontext():
            self._take_step(draw)

    def _take_step(self, draw: Draw) -> None:
        first, *others = self.players
        self._move(first, draw)
        self.step += 1
        if self.rounds.end_at(self.step):
            for other in others:
                for _ in range(other.player.steps):
                    self._move(other, draw)
        # Of all players: a generator's batch statistics change in the critic's turn too.
        self.world.average_buffers(self.model)
        if self.average is not None:
            self.average.update(self.step)

    def _move(self, state: PlayerState, draw: Draw) -> None:
        if len(self.players) > 1:
            freeze_all_but(self.players, state)
        state.update(draw)

    def averaged(self) -> AbstractContextManager[None]:
        """Put the moving average, where there is one, in the place of the weights for a while."""
        return nullcontext() if self.average is None else self.average.in_place()

    def is_finite(self) -> bool:
        """Whether weights and pending sums are numbers, on every process."""
        floats = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        parts = [torch.stack(norms(floats)).sum()]
        parts += [state.means.sums.sum().to(parts[0].dtype) for state in self.players]
        return not self.world.any(not bool(torch.isfinite(torch.stack(parts)).all()))

    def train_means(self) -> dict[str, float]:
        """Means of what all players logged since the last call."""
        means: dict[str, float] = {}
        for state in self.players:
            for name, value in state.means.take().items():
                # Every player has these two; a game of one needs no prefix.
                shared = name in ("loss", "grad_norm") and len(self.players) > 1
                means[f"{state.player.name}_{name}" if shared else name] = value
        return means

    def snapshot(self, best: bool = False, metrics_bytes: int = 0) -> Checkpoint:
        """Everything that the rest of training depends on; every process takes part.

        Args:
            best: this is the best model so far.
            metrics_bytes: the length of metrics.jsonl.
        """
        optim: dict[str, Tensor] = {}
        for name, state in self._generators().items():
            for rank, part in enumerate(self.world.gather(state)):
                optim[f"{name}/{rank}"] = part
        players = []
        for i, player in enumerate(self.players):
            tensors, values = player.to_state()
            optim |= {f"player{i}/{k}": v for k, v in tensors.items()}
            players.append(values)
        groups: dict[str, Mapping[str, Tensor]] = {
            "weights": self.model.state_dict(),
            "optim": optim,
        }
        if self.average is not None:
            groups["average"] = self.average.shadow
        # Copies, since training goes on while they are written.
        copies = {g: {k: copied(v) for k, v in ts.items()} for g, ts in groups.items()}
        return Checkpoint(
            copies,
            {
                "step": self.step,
                "best": self.best,
                "is_best": best,
                "metrics_bytes": metrics_bytes,
                "players": players,
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up training where `checkpoint` was made; raises UserError where it does not fit."""
        weights = self.model.state_dict()
        check_checkpoint(checkpoint, weights, self.average is not None, self.players)
        self.step = int(checkpoint.values["step"])
        self.best = checkpoint.values["best"]
        self.model.load_state_dict(dict(checkpoint.groups["weights"]))
        optim = checkpoint.groups["optim"]
        for i, (state, values) in enumerate(
            zip(self.players, checkpoint.values["players"], strict=True)
        ):
            prefix = f"player{i}/"
            tensors = {k.removeprefix(prefix): v for k, v in optim.items() if k.startswith(prefix)}
            state.from_state(tensors, values)
        if self.average is not None:
            for k, v in checkpoint.groups["average"].items():
                self.average.shadow[k].copy_(v)
        rank, device = self.world.rank, self.world.device
        if f"rng/cpu/{rank}" in optim:  # absent where there were fewer processes
            torch.set_rng_state(optim[f"rng/cpu/{rank}"])
        if device.type == "cuda" and f"rng/cuda/{rank}" in optim:
            torch.cuda.set_rng_state(optim[f"rng/cuda/{rank}"], device)

    def _generators(self) -> dict[str, Tensor]:
        """The states of torch's global generators, which a plugin may draw from."""
        found = {"rng/cpu": torch.get_rng_state()}
        device = self.world.device
        if device.type == "cuda":
            found["rng/cuda"] = torch.cuda.get_rng_state(device)
        return found


def _players(
    model: Model, settings: TrainSettings, world: World, total: int, per_epoch: int
) -> list[PlayerState]:
    """Each player, with how many updates it makes in all and an epoch."""
    players = list(model.players())
    first = players[0].steps
    rounds = max(1, Rounds(players[0]).within(total))
    totals = [total, *(rounds * p.steps for p in players[1:])]
    an_epoch = per_epoch / first  # rounds
    rates = [per_epoch, *(an_epoch * p.steps for p in players[1:])]
    return [
        PlayerState(p, settings, world, count, rate)
        for p, count, rate in zip(players, totals, rates, strict=True)
    ]
