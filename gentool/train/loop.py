"""The one training loop: rounds of players, until the steps are done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gentool.data.dataset import Dataset
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.hooks import Events
from gentool.model import Evaluates, Model
from gentool.runs import Run
from gentool.spec import ModelSpec
from gentool.train.batches import BatchLoader, Draw
from gentool.train.devices import copied, is_out_of_memory, model_layout
from gentool.train.display import Display
from gentool.train.distributed import World
from gentool.train.evaluation import evaluate_test
from gentool.train.log import MetricsLog
from gentool.train.pictures import Pictures
from gentool.train.player import (
    EMA,
    PlayerState,
    freeze_all_but,
)
from gentool.train.profiling import Profile
from gentool.train.saver import Saver
from gentool.train.settings import TrainSettings
from gentool.train.state import Checkpoint
from gentool.train.stopping import Stopped, StopRequest
from gentool.train.watchdog import Watchdog
from gentool.weights import Header

EVALUATION_BATCH = 500
EVALUATION_VALUES = 2**23
"""What a batch of large images may hold, in values, of one evaluation."""

AGREE_EVERY = 10
"""Steps between the processes' asking each other whether one was told to stop."""


class Trainer:
    """Trains `model` on `dataset` into `run`.

    A step is one update of the first player, with one fresh batch; after every `steps` of its
    updates the other players take theirs. Epoch, position and round follow from the step alone.
    """

    def __init__(
        self,
        model: Model,
        header: Header,
        spec: ModelSpec,
        dataset: Dataset,
        settings: TrainSettings,
        run: Run,
        world: World,
    ) -> None:
        self.model, self.header, self.settings = model, header, settings
        self.run, self.world, self.step = run, world, 0
        self.device = device = world.device
        layout = model_layout(model)
        model.to(memory_format=layout)  # type: ignore[call-overload]
        self.loader = BatchLoader(
            dataset.train,
            settings.batch_size,
            device,
            seed=settings.seed,
            drop_last=spec.drop_last,
            flip=settings.flip and dataset.spec.kind == "image",
            world=world,
            layout=layout,
        )
        if self.loader.batch_size < world.size:
            raise UserError(
                f"a batch of {self.loader.batch_size} cannot be shared by {world.size} processes; "
                "raise --batch-size or start fewer"
            )
        most = max(1, EVALUATION_VALUES // dataset.spec.size)
        size = max(settings.batch_size, min(EVALUATION_BATCH, most))
        self.test_loader = (
            BatchLoader(dataset.test, size, device, layout=layout) if len(dataset.test) else None
        )
        self.total = settings.steps or (settings.epochs or 1) * self.loader.per_epoch
        self.players = self._make_players()
        self.average = EMA(model, settings.ema) if settings.ema is not None else None
        self.pictures = Pictures(model, dataset, run, settings.seed, device)
        self.watchdog = Watchdog(model, dataset, settings.seed, device)
        self.log: MetricsLog | None = None
        self.events = Events()
        self.saver = Saver(run, header, settings.keep)
        self.best_by = settings.best or spec.best
        self.best: float | None = None

    def _make_players(self) -> list[PlayerState]:
        players = list(self.model.players())
        first = players[0].steps
        rounds = max(1, self.total // first)
        totals = [self.total, *(rounds * p.steps for p in players[1:])]
        an_epoch = self.loader.per_epoch / first  # rounds
        rates = [self.loader.per_epoch, *(an_epoch * p.steps for p in players[1:])]
        return [
            PlayerState(p, self.settings, self.world, total, rate)
            for p, total, rate in zip(players, totals, rates, strict=True)
        ]

    @property
    def epoch(self) -> int:
        """Epochs begun so far, from 1; the one that just ended, at its end."""
        return max(1, math.ceil(self.step / self.loader.per_epoch))

    def fit(self) -> None:
        """Train from `self.step` to the end.

        Raises:
            Stopped: after a signal or --max-time, with everything saved.
            UserError: where the loss is no longer finite; the last checkpoint is kept.
        """
        s = self.settings
        if self.world.is_main:
            self.log = self.log or MetricsLog(self.run.metrics)
        display = Display(
            self.total, self.loader.per_epoch, self.loader.batch_size, self.step, self.world.is_main
        )
        try:
            with StopRequest(self.settings.max_time) as stop:
                if self.step == 0:
                    self.save()  # so that whatever happens next can be resumed
                    if s.sample_every:
                        self._draw_picture()
                self._fit(display, stop)
            self.saver.wait()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"out of memory at a batch of {self.loader.batch_size}; try --batch-size "
                f"{max(1, self.loader.batch_size // 2)}, or --accumulate {2 * s.accumulate} for "
                "the same batch in parts"
            ) from error
        finally:
            display.close()
            self.saver.close()
            if self.log is not None:
                self.log.close()

    def _fit(self, display: Display, stop: StopRequest) -> None:
        self.model.train()
        wanted = self.settings.profile and self.world.is_main
        profiler = Profile(self.run.profile if wanted else None)
        display.begin_epoch(self.step)
        while self.step < self.total:
            self.take_step()
            profiler.step()
            if display.due():
                display.step(self.step, self.players[0].running("loss"))
            ended = self.step % self.loader.per_epoch == 0 or self.step == self.total
            if ended:
                self._end_epoch(display)
            elif self.step % self.loader.per_epoch % self.settings.log_every == 0:
                self._write_row("train", self._train_means())
            if self.step < self.total and (reason := self._stop_reason(stop)) is not None:
                self.save()
                self.saver.wait()
                raise reason
        if profiler.table:
            display.say(profiler.table)

    def _stop_reason(self, stop: StopRequest) -> Stopped | None:
        """Why to stop after this step; several processes agree every few steps."""
        if self.world.size == 1:
            return stop.pending()
        if self.step % AGREE_EVERY:
            return None
        reason = stop.pending()
        if not self.world.any(reason is not None):
            return None
        return reason or Stopped("stopped with another process", 0)

    def take_step(self) -> None:
        """One update of the first player, and the others' turn where its round is over."""
        draw = self.loader.at(self.step)
        first, *others = self.players
        self._move(first, draw)
        self.step += 1
        if self.step % first.player.steps == 0:
            for other in others:
                for _ in range(other.player.steps):
                    self._move(other, draw)
        # Of all players: a generator's batch statistics change in the critic's turn too.
        self.world.average_buffers(self.model)
        if self.average is not None:
            self.average.update()

    def _move(self, state: PlayerState, draw: Draw) -> None:
        if len(self.players) > 1:
            freeze_all_but(self.players, state)
        state.update(draw)

    def _end_epoch(self, display: Display) -> None:
        rate = display.rate(self.step)
        rows = {"train": {**self._train_means(), "examples_per_s": round(rate, 1)}}
        last = self.step == self.total
        with self.averaged():
            if (test := self.evaluate()) is not None:
                rows["test"] = test
            every = self.settings.sample_every
            if every and (self.epoch % every == 0 or last):
                self._draw_picture()
            rows["samples"] = {"diversity": self.watchdog.diversity()}
        self._report(rows, rate, display)
        self._require_finite(rows.get("test", {}), "on the test split ")
        improved = self._improves(rows.get("test", {}))
        if improved:
            score = rows["test"][self.best_by]
            self.best = score
        if self.epoch % self.settings.save_every == 0 or last or improved:
            self.save(best=improved)
        self.events.epoch_ended(self.run, self.epoch, self.step)
        display.begin_epoch(self.step)

    def _improves(self, test: dict[str, float]) -> bool:
        """Whether this is the best epoch so far, by the scalar that ranks them."""
        if self.best_by not in test:
            if self.settings.best is not None:
                known = ", ".join(test) or "none: this model or data has nothing to test"
                raise UserError(
                    f"--best {printable(self.settings.best)} is no scalar of the test split; "
                    f"there are: {known}"
                )
            return False
        return self.best is None or test[self.best_by] < self.best

    def _report(self, rows: dict[str, dict[str, float]], rate: float, display: Display) -> None:
        """Write an epoch's rows and warnings, and say them."""
        for split, row in rows.items():
            self._write_row(split, row)
        slow = [s.captured.failure for s in self.players if s.captured and s.captured.failure]
        if slow and self.epoch == 1:
            display.warn(f"training runs without CUDA graphs: {slow[0]}")
        for message in self.watchdog.warnings(rows):
            display.warn(message)
            self._write_row("warning", {"warning": message})
        display.epoch(self.epoch, rate, rows)

    def evaluate(self) -> dict[str, float] | None:
        """Means of the model's scalars over the test split; None where it has none."""
        if self.test_loader is None or not isinstance(self.model, Evaluates):
            return None
        progress = min(1.0, self.step / self.total)
        self.model.eval()
        means = evaluate_test(self.model, self.test_loader, self.settings, self.world, progress)
        self.model.train()
        return means

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the moving average, where there is one, in the place of the weights."""
        if self.average is None:
            yield
            return
        live, shadow = self.average.live, self.average.shadow
        kept = {k: v.clone() for k, v in live.items()}
        for k, v in live.items():
            v.copy_(shadow[k])
        try:
            yield
        finally:
            for k, v in live.items():
                v.copy_(kept[k])

    def _draw_picture(self) -> None:
        if not self.world.is_main:
            return
        self.model.eval()
        with user_errors("the sample picture", self.run.samples):
            self.pictures.draw(self.step)
        self.model.train()

    def _train_means(self) -> dict[str, float]:
        """Means since the last row, over all players; stops the run where one is not finite."""
        means: dict[str, float] = {}
        for state in self.players:
            for name, value in state.take_means().items():
                # Every player has these two; a game of one needs no prefix.
                shared = name in ("loss", "grad_norm") and len(self.players) > 1
                means[f"{state.player.name}_{name}" if shared else name] = value
        self._require_finite(means)
        return means

    def _require_finite(self, scalars: dict[str, float], where: str = "") -> None:
        """Stop the run, its last checkpoint kept, where a scalar is NaN or infinite."""
        name = next((n for n, v in scalars.items() if not math.isfinite(v)), None)
        if name is not None:
            self._write_row("train", {**scalars, "warning": f"{name} is not finite"})
            raise self._diverged(f"{name} {where}")

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what.strip()} is no longer finite near step {self.step}; the last checkpoint is "
            f"kept in {self.run.state}; try a lower learning rate, --clip-grad 1 or "
            "--precision fp32"
        )

    def _is_finite(self) -> bool:
        """Whether weights and pending sums are numbers, on every process."""
        floats = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        parts = [torch.stack(torch._foreach_norm(floats)).sum()]
        parts += [state.sums.sum().to(parts[0].dtype) for state in self.players]
        return not self.world.any(not bool(torch.isfinite(torch.stack(parts)).all()))

    def _write_row(self, split: str, scalars: dict[str, Any]) -> None:
        if self.log is None:  # not the process that writes
            return
        row = {"epoch": self.epoch, "step": self.step, "split": split, **scalars}
        self.log.write(row)
        self.events.logged(self.run, row)

    def save(self, best: bool = False) -> None:
        """Have a checkpoint written, and from it the model file that samples.

        A model that has diverged is not saved: the last good checkpoint stays the newest.
        """
        if not self._is_finite():
            raise self._diverged("a weight or a loss")
        checkpoint = self.snapshot(best)
        if self.log is not None:
            self.log.sync()
            self.saver.save(checkpoint)

    def snapshot(self, best: bool = False) -> Checkpoint:
        """Everything that the rest of training depends on; every process takes part."""
        generators = {"rng/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        optim: dict[str, Tensor] = {}
        for name, state in generators.items():
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
        values = {
            "step": self.step,
            "best": self.best,
            "is_best": best,
            "metrics_bytes": self.log.offset if self.log is not None else 0,
            "players": players,
        }
        # Copies, since training goes on while they are written.
        copies = {g: {k: copied(v) for k, v in ts.items()} for g, ts in groups.items()}
        return Checkpoint(copies, values)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up training where `checkpoint` was made."""
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
        rank = self.world.rank
        if f"rng/cpu/{rank}" in optim:  # absent where there were fewer processes
            torch.set_rng_state(optim[f"rng/cpu/{rank}"])
        if self.device.type == "cuda" and f"rng/cuda/{rank}" in optim:
            torch.cuda.set_rng_state(optim[f"rng/cuda/{rank}"], self.device)
        if self.world.is_main:
            self.log = MetricsLog(self.run.metrics, int(checkpoint.values["metrics_bytes"]))
            self.saver.derive(checkpoint)
