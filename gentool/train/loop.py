"""The one training loop: rounds of players, until the steps are done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gentool.data.dataset import Dataset
from gentool.devices import is_out_of_memory, model_layout
from gentool.errors import UserError
from gentool.model import Evaluates, Model
from gentool.spec import ModelSpec
from gentool.train.batches import BatchLoader
from gentool.train.best import ranked_by, score
from gentool.train.distributed import World
from gentool.train.evaluation import evaluate_test
from gentool.train.game import Game
from gentool.train.player import PlayerState
from gentool.train.recorder import Recorder
from gentool.train.settings import TrainSettings
from gentool.train.state import Checkpoint
from gentool.train.stopping import Stopped, StopRequest

EVALUATION_BATCH = 500
EVALUATION_VALUES = 2**23
"""What a batch of large images may hold, in values, of one evaluation."""


class Trainer:
    """Trains `model` on `dataset`: batches into a `Game`, step by step, epoch by epoch.

    What is written and shown of it is the recorder's; without one, nothing is.
    """

    def __init__(
        self,
        model: Model,
        spec: ModelSpec,
        dataset: Dataset,
        settings: TrainSettings,
        world: World,
        recorder: Recorder | None = None,
    ) -> None:
        self.settings, self.world = settings, world
        self.recorder = recorder or Recorder()
        layout = model_layout(model)
        model.to(memory_format=layout)  # type: ignore[call-overload]
        self.loader = BatchLoader(
            dataset.train,
            settings.batch_size,
            world.device,
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
            BatchLoader(dataset.test, size, world.device, layout=layout)
            if len(dataset.test)
            else None
        )
        self.total = settings.steps or (settings.epochs or 1) * self.loader.per_epoch
        self.game = Game(model, settings, world, self.total, self.loader.per_epoch)
        self.best_by = ranked_by(spec, dataset, settings)

    @property
    def model(self) -> Model:
        return self.game.model

    @property
    def players(self) -> list[PlayerState]:
        return self.game.players

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.game.step

    @property
    def epoch(self) -> int:
        """Epochs begun so far, from 1; the one that just ended, at its end."""
        return max(1, math.ceil(self.step / self.loader.per_epoch))

    def fit(self) -> None:
        """Train from the step where the game stands to the end.

        Raises:
            Stopped: after a signal or --max-time, with everything saved.
            UserError: where the loss is no longer finite; the last checkpoint is kept.
        """
        loader, s = self.loader, self.settings
        try:
            self.recorder.begin(self.total, loader.per_epoch, loader.batch_size, self.step)
            with StopRequest(s.max_time) as stop:
                if self.step == 0:
                    self.save()  # so that whatever happens next can be resumed
                    if s.sample_every:
                        with evaluating(self.model):
                            self.recorder.picture(0)
                self._fit(stop)
            self.recorder.flush()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"out of memory at a batch of {loader.batch_size}; try --batch-size "
                f"{max(1, loader.batch_size // 2)}, or --accumulate {2 * s.accumulate} for "
                "the same batch in parts"
            ) from error
        finally:
            self.recorder.close()

    def _fit(self, stop: StopRequest) -> None:
        self.model.train()
        self.recorder.begin_epoch(self.step)
        while self.step < self.total:
            self.take_step()
            self.recorder.stepped(self.step, self._running_loss)
            ended = self.step % self.loader.per_epoch == 0 or self.step == self.total
            if ended:
                self._end_epoch()
            elif self.step % self.loader.per_epoch % self.settings.log_every == 0:
                self.recorder.row(self.epoch, self.step, "train", self._train_means())
            if self.step < self.total and (reason := self._stop_reason(stop)) is not None:
                self.save()
                self.recorder.flush()
                raise reason
            if self.world.agrees(self.step, self.recorder.save_is_wanted()):
                self.save()
        self.recorder.graphs({s.player.name: s.captured.state for s in self.players if s.captured})

    def _stop_reason(self, stop: StopRequest) -> Stopped | None:
        """Why to stop after this step; several processes agree every few steps."""
        reason = stop.pending()
        if not self.world.agrees(self.step, reason is not None):
            return None
        return reason or Stopped("stopped with another process", 0)

    def take_step(self) -> None:
        """One step of the game, with the batch that belongs to it."""
        self.game.take_step(self.loader.at(self.step))

    def _running_loss(self) -> float | None:
        return self.players[0].means.running("loss")

    def _end_epoch(self) -> None:
        rate = self.recorder.rate(self.step)
        rows = {"train": {**self._train_means(), "examples_per_s": round(rate, 1)}}
        last = self.step == self.total
        with self.game.averaged(), evaluating(self.model):
            if (test := self.evaluate()) is not None:
                rows["test"] = test
            every = self.settings.sample_every
            if every and (self.epoch % every == 0 or last):
                self.recorder.picture(self.step)
            rows |= self.recorder.watched(self.step)
        self._warn_of_slowness()
        self.recorder.epoch(self.epoch, self.step, rate, rows)
        self._require_finite(rows.get("test", {}), "on the test split ")
        found, before = score(self.best_by, rows, self.world), self.game.best
        improved = found is not None and (before is None or found < before)
        if improved:
            self.game.best = found
        if self.epoch % self.settings.save_every == 0 or last or improved:
            self.save(best=improved)
        self.recorder.epoch_ended(self.epoch, self.step)
        self.recorder.begin_epoch(self.step)

    def _warn_of_slowness(self) -> None:
        """Say, and write down, once for each player, why it is no CUDA graph where it could be."""
        for state in self.players:
            if state.captured is None or not state.captured.failure or state.captured.told:
                continue
            state.captured.told = True
            name, why = state.player.name, state.captured.failure
            message = f"{name} trains slower, without a CUDA graph: {why}"
            self.recorder.warn(message)
            self.recorder.row(self.epoch, self.step, "warning", {"warning": message})

    def evaluate(self) -> dict[str, float] | None:
        """Means of the model's scalars over the test split; None where it has none."""
        if self.test_loader is None or not isinstance(self.model, Evaluates):
            return None
        progress = min(1.0, self.step / self.total)
        with evaluating(self.model):
            return evaluate_test(self.model, self.test_loader, self.settings, self.world, progress)

    def _train_means(self) -> dict[str, float]:
        """Means since the last row; stops the run where one is not finite."""
        means = self.game.train_means()
        self._require_finite(means)
        return means

    def _require_finite(self, scalars: dict[str, float], where: str = "") -> None:
        """Stop the run, its last checkpoint kept, where a scalar is NaN or infinite."""
        name = next((n for n, v in scalars.items() if not math.isfinite(v)), None)
        if name is not None:
            warned = {**scalars, "warning": f"{name} is not finite"}
            self.recorder.row(self.epoch, self.step, "train", warned)
            raise self._diverged(f"{name} {where}")

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what.strip()} is no longer finite near step {self.step}; the last checkpoint is "
            f"kept in {self.recorder.place}; try a lower learning rate, --clip-grad 1 or "
            "--precision fp32"
        )

    def save(self, best: bool = False) -> None:
        """Have a checkpoint written, and from it the model file that samples.

        A model that has diverged is not saved: the last good checkpoint stays the newest.
        """
        if not self.game.is_finite():
            raise self._diverged("a weight or a loss")
        self.recorder.save(self.game.snapshot(best, self.recorder.offset))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up training where `checkpoint` was made."""
        self.game.restore(checkpoint)
        self.recorder.restore(checkpoint)


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in eval mode for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
