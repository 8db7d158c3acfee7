"""Rules about the players: whose parameters are whose, and what their objectives give."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.model import Objective, Player
from gentool.testing.subject import CPU, Candidate, alone, demand, step_at
from gentool.train.batches import Draw
from gentool.train.loop import Trainer


def players(subject: Candidate) -> None:
    """Every trainable parameter belongs to exactly one player."""
    model = subject.build()
    every = list(model.players())
    demand(bool(every), "players() is empty; a model of one loss is a game of one Player")
    names = [p.name for p in every]
    demand(len(set(names)) == len(names), f"two players share a name among {names}; rename one")
    owner: dict[int, str] = {}
    own = {id(p): name for name, p in model.named_parameters()}
    for player in every:
        demand(
            bool(player.name) and player.name.isidentifier(),
            f"the player name {player.name!r} is no plain word; it becomes part of logged names",
        )
        demand(player.steps >= 1, f"the player {player.name!r} has steps={player.steps}, below 1")
        demand(
            hasattr(torch.optim, player.optimizer.kind),
            f"the player {player.name!r} asks for torch.optim.{player.optimizer.kind}, which "
            "does not exist",
        )
        mine = [p for p in player.module.parameters() if p.requires_grad]
        demand(bool(mine), f"the module of player {player.name!r} has no trainable parameter")
        for p in mine:
            demand(
                id(p) in own,
                f"the player {player.name!r} moves a parameter that is not the model's; assign its "
                "module to an attribute of the model, or it is not saved",
            )
            other = owner.setdefault(id(p), player.name)
            demand(
                other == player.name,
                f"the parameter {own[id(p)]!r} belongs to the players {other!r} and "
                f"{player.name!r}; give it to one of them",
            )
    for name, p in model.named_parameters():
        demand(
            id(p) in owner or not p.requires_grad,
            f"the parameter {name!r} belongs to no player, so it never learns; put it into a "
            "player's module, or freeze it with requires_grad_(False)",
        )


def objectives(subject: Candidate) -> None:
    """Losses are finite float32 scalars with a graph that reaches the whole player."""
    trainer = subject.trainer(steps=4)
    for state in trainer.players:
        player = state.player
        alone(trainer, player)
        check_objective(player, player.objective(subject.batch(), step_at(player.name)))
        for name, p in player.module.named_parameters():
            if p.requires_grad:
                demand(
                    p.grad is not None,
                    f"the loss of player {player.name!r} never reaches its parameter {name!r}; "
                    "use it, or take it out",
                )
                assert p.grad is not None
                demand(
                    bool(torch.isfinite(p.grad).all()),
                    f"the gradient of {name!r} under player {player.name!r} is not finite",
                )
    trainer.model.zero_grad(set_to_none=True)


def check_objective(player: Player, found: object) -> None:
    """Hold one objective to the contract, and run its backward pass."""
    who = f"the objective of player {player.name!r}"
    demand(
        isinstance(found, Objective),
        f"{who} returns {type(found).__name__}; return Objective(loss, scalars)",
    )
    assert isinstance(found, Objective)
    loss = found.loss
    demand(
        isinstance(loss, Tensor) and loss.dim() == 0,
        f"the loss of player {player.name!r} is no scalar tensor; take the mean over the batch",
    )
    demand(
        loss.requires_grad,
        f"the loss of player {player.name!r} does not depend on its parameters: it is detached "
        "(.detach(), .item(), no_grad) or made from other players' parameters alone",
    )
    demand(
        loss.dtype in (torch.float32, torch.float64),
        f"the loss of player {player.name!r} is {loss.dtype}; reduce in float32, e.g. with "
        "gentool.nn.at_least_fp32",
    )
    demand(
        bool(torch.isfinite(loss)),
        f"the loss of player {player.name!r} is {loss.item()} on the first batch",
    )
    check_scalars(found.scalars, who)
    loss.backward()


def check_scalars(scalars: object, who: str) -> None:
    """Logged scalars are finite tensors without dimensions."""
    assert hasattr(scalars, "items")
    for name, value in scalars.items():
        demand(
            isinstance(value, Tensor) and value.dim() == 0,
            f"{who} logs {name!r} as {type(value).__name__}; log a scalar tensor, which costs no "
            "wait for the device",
        )
        demand(
            name not in ("epoch", "step", "split", "loss", "grad_norm") or who.startswith("eval"),
            f"{who} logs {name!r}, a name that the trainer uses itself; call it otherwise",
        )
        demand(bool(torch.isfinite(value)), f"{who} logs {name!r} = {value.item()}")


def steps(subject: Candidate) -> None:
    """A player's step, with its after_step, changes its own parameters and no others."""
    trainer = subject.trainer(steps=4)
    for state in trainer.players:
        before = _parameters(trainer)
        alone(trainer, state.player)
        batch = subject.batch()
        state.update(Draw(batch, 0, len(batch.x)))
        mine = {id(p) for p in state.parameters}
        changed = {n for n, p in _parameters(trainer).items() if not torch.equal(p, before[n])}
        own = {n for n, p in trainer.model.named_parameters() if id(p) in mine}
        demand(
            bool(changed & own),
            f"a step of player {state.player.name!r} changes none of its parameters; is its "
            "learning rate 0, or its gradient?",
        )
        others = sorted(changed - own)
        demand(
            not others,
            f"a step of player {state.player.name!r} changes {others[:1]}, which is not its own; "
            "do not write to parameters in an objective or after_step of another player",
        )


def _parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {n: p.detach().clone().to(CPU) for n, p in trainer.model.named_parameters()}
