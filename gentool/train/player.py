"""One player's update: forward, backward, clip, optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gentool import ops
from gentool.model import Batch, Player, Step
from gentool.noise import Noise
from gentool.train.batches import Draw
from gentool.train.compiling import CompiledObjective
from gentool.train.distributed import World
from gentool.train.graph import CapturedUpdate
from gentool.train.means import RunningMeans
from gentool.train.optimizers import lr_factor, make_optimizer, milestone_factor, set_lr
from gentool.train.settings import TrainSettings

GRAD_NORM_EVERY = 20
"""Updates between looks at the gradient's norm; at every update it would cost a few percent."""

MOMENTUM = "momentum_buffer"
"""What torch's SGD keeps of a parameter."""


class PlayerState:
    """A player with everything that its updates change: optimizer, counter, scaler, sums."""

    def __init__(
        self,
        player: Player,
        settings: TrainSettings,
        world: World,
        total: int,
        per_epoch: float = 1.0,
    ) -> None:
        """
        Args:
            total: how many updates this player will make in the whole training.
            per_epoch: how many it makes an epoch, not always a whole number.
        """
        self.player, self.settings = player, settings
        self.total, self.per_epoch = total, per_epoch
        self.world, self.device = world, (device := world.device)
        self.parameters = [p for p in player.module.parameters() if p.requires_grad]
        self.objective = CompiledObjective(player) if settings.compile else player.objective
        scaled = settings.precision == "fp16"
        self.optimizer = make_optimizer(player.optimizer, self.parameters, device, scaled)
        # The counter lives on the device: it keys the noise, and a captured step must see it.
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        self.count = 0
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.means = RunningMeans(world)
        # Noise is drawn by counter in native kernels only; the scaler and the other processes
        # make the host wait. Such updates run uncaptured.
        capturable = device.type == "cuda" and ops.native.serves("cuda") and world.size == 1
        capturable = capturable and not self.scaler.is_enabled()
        self.captured = CapturedUpdate(self.update_captured) if capturable else None

    def update(self, draw: Draw) -> None:
        """Take one step down the gradient of the player's objective."""
        s = self.settings
        factor = lr_factor(s.lr_schedule, s.lr_warmup, self.count, self.total)
        factor *= milestone_factor(s.lr_milestones or (), s.lr_gamma, self.count / self.per_epoch)
        set_lr(self.optimizer, self.player.optimizer.lr * factor)
        clips = s.clip_grad is not None
        measured = clips or self.count % GRAD_NORM_EVERY == 0
        if self.captured is not None and measured == clips:
            self.captured(draw)
        else:
            self._update_on_device(draw, measured)
        self.count += 1
        self.means.examples += len(draw.batch.x)

    def update_captured(self, draw: Draw) -> None:
        """What is captured: an update that measures the gradient's norm only to clip it."""
        self._update_on_device(draw, self.settings.clip_grad is not None)

    def _update_on_device(self, draw: Draw, measured: bool = False) -> None:
        """The part of an update that a CUDA graph can hold: nothing of the host changes here."""
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(draw)
        self.world.sum_gradients(self.parameters)
        if measured:
            self._clip_and_measure()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.player.after_step is not None:
            with torch.no_grad():
                self.player.after_step()
        self.updates.add_(1)

    def _backward(self, draw: Draw) -> None:
        """Gradients of the whole batch, part by part; each part weighs as many as it holds."""
        n = len(draw.batch.x)
        progress = (self.updates / max(1, self.total)).to(torch.float32)
        part = max(1, -(-n // self.settings.accumulate))
        for start in range(0, n, part):
            piece = draw.batch if part >= n else slice_batch(draw.batch, start, start + part)
            noise = Noise(
                self.settings.seed,
                self.player.name,
                self.updates,
                self.device,
                row_offset=draw.offset + start,
            )
            with autocast(self.device, self.settings.precision):
                objective = self.objective(piece, Step(noise, progress))
            share = len(piece.x) / draw.total
            loss = objective.loss if share == 1 else objective.loss * share
            self.scaler.scale(loss).backward()
            self.means.add({"loss": objective.loss, **objective.scalars}, len(piece.x))

    def _clip_and_measure(self) -> None:
        """Clip the gradient where asked to, and add its norm to the log."""
        limit = self.settings.clip_grad
        self.scaler.unscale_(self.optimizer)
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(grads, foreach=True)
        if limit is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, limit, norm, foreach=True)
        # A loss scaler finds its scale by overflowing: such a step is skipped, and not counted.
        counts = torch.isfinite(norm) if self.scaler.is_enabled() else torch.ones_like(norm) > 0
        self.means.add_norm(norm, counts)

    def optimizer_entries(self, parameter: Tensor) -> dict[str, Any]:
        """What the optimizer keeps of a parameter: tensors of the shapes and types that it needs.

        Found by one step of another optimizer like it, on zeros in the parameter's shape.
        """
        probe = nn.Parameter(torch.zeros_like(parameter, requires_grad=False))
        probe.grad = torch.zeros_like(probe)
        scaled = self.scaler.is_enabled()
        optimizer = make_optimizer(self.player.optimizer, [probe], self.device, scaled)
        optimizer.step()
        return dict(optimizer.state[probe])

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the next update depends on, as tensors and as plain JSON values.

        Every process calls it, since it sums the log over all; the first one's result is kept.
        """
        tensors, values = _flatten(self.optimizer.state_dict())
        tensors["totals"] = self.means.totals()
        return tensors, {
            "count": self.count,
            "names": list(self.means.names),
            "optimizer": values,
            "scaler": self.scaler.state_dict(),
        }

    def from_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """The inverse of `to_state`."""
        self.count = int(values["count"])
        self.updates.fill_(self.count)
        self.scaler.load_state_dict(values["scaler"])
        self.means.restore(tuple(values["names"]), tensors["totals"])
        entries: dict[int, dict[str, Any]] = {}
        for key, value in [*tensors.items(), *values["optimizer"].items()]:
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                index, _, name = rest.partition("/")
                like = self.parameters[int(index)]
                if isinstance(value, Tensor) and value.shape == like.shape:
                    # Fused optimizers walk weights and moments alike, in their order in memory.
                    value = torch.empty_like(like, dtype=value.dtype).copy_(value)
                entries.setdefault(int(index), {})[name] = value
        if isinstance(self.optimizer, torch.optim.SGD) and any(
            MOMENTUM in e for e in entries.values()
        ):
            # Its fused step fails where some have one and others none; its first step is from 0.
            for i, like in enumerate(self.parameters):
                entries.setdefault(i, {}).setdefault(MOMENTUM, torch.zeros_like(like))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": entries})


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state_dict as named tensors, and the entries that are no tensors."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            target = tensors if isinstance(value, Tensor) else values
            target[f"optimizer/{index}/{name}"] = value
    return tensors, values


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The mixed-precision context of a precision; losses and sums stay fp32 in `gentool.ops`."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def slice_batch(batch: Batch, start: int, stop: int) -> Batch:
    """Rows start … stop-1 of a batch."""
    return Batch(
        batch.x[start:stop],
        None if batch.labels is None else batch.labels[start:stop],
        None if batch.pixels is None else batch.pixels[start:stop],
        None if batch.attributes is None else batch.attributes[start:stop],
    )


def freeze_all_but(states: Sequence[PlayerState], moving: PlayerState) -> None:
    """Let gradients flow into one player's parameters only."""
    mine = {id(p) for p in moving.parameters}
    for state in states:
        for p in state.parameters:
            p.requires_grad_(id(p) in mine)
