"""What only the main process does: log, display, pictures, watchdog, checkpoints, loggers."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from gentool.console import program
from gentool.data.dataset import Dataset
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.hooks import Events
from gentool.model import Model
from gentool.runs import Run
from gentool.train.display import Display, FollowedDisplay, TerminalDisplay
from gentool.train.history import History
from gentool.train.log import MetricsLog
from gentool.train.pictures import Pictures
from gentool.train.profiling import Profile
from gentool.train.progress import Follower
from gentool.train.saver import Saver, require_there
from gentool.train.settings import TrainSettings
from gentool.train.state import Checkpoint
from gentool.train.status import Status, StatusFile
from gentool.train.stopping import Stopped
from gentool.train.summary import summarise
from gentool.train.thinning import is_due, thin
from gentool.train.watchdog import Watchdog
from gentool.weights import Header

Rows = dict[str, dict[str, Any]]

SUMMARY_EVERY, SUMMARY_SHARE = 10.0, 0.05
"""Seconds between summaries at least, and the share of the time that they may take."""


class Recorder:
    """Records nothing: for the processes that do not write, and for training without a run.

    `RunRecorder` says what each method is for.
    """

    @property
    def offset(self) -> int:
        return 0

    @property
    def place(self) -> str:
        return "the run"

    def started(self) -> None: ...

    def begin(self, total: int, per_epoch: int, batch_size: int, step: int) -> None: ...

    def begin_epoch(self, step: int) -> None: ...

    def stepped(self, step: int, loss: Callable[[], float | None]) -> None: ...

    def row(self, epoch: int, step: int, split: str, scalars: Mapping[str, Any]) -> None: ...

    def picture(self, step: int) -> None: ...

    def watched(self, step: int) -> Rows:
        return {}

    def rate(self, step: int) -> float:
        return 0.0

    def epoch(self, epoch: int, step: int, rate: float, rows: Rows) -> None: ...

    def warn(self, message: str) -> None: ...

    def save(self, checkpoint: Checkpoint) -> None: ...

    def epoch_ended(self, epoch: int, step: int) -> None: ...

    def save_is_wanted(self) -> bool:
        return False

    def graphs(self, states: Mapping[str, str]) -> None: ...

    def restore(self, checkpoint: Checkpoint) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def finished(self) -> None: ...

    def stopped(self, reason: Stopped) -> Stopped:
        return reason

    def failed(self, error: BaseException) -> None: ...


class RunRecorder(Recorder):
    """Writes a run's files, shows progress, and tells the plugins that ``--log`` names."""

    def __init__(
        self,
        run: Run,
        folder: Folder,
        header: Header,
        model: Model,
        dataset: Dataset,
        settings: TrainSettings,
        device: torch.device,
        follower: Follower | None = None,
        best: str = "",
        source: str = "",
    ) -> None:
        """
        Args:
            folder: the run's, held open and locked.
            header: what the run's model file says of itself.
            model: on the device.
            follower: called with how training stands, instead of a terminal's display.
            best, source: as in `Watchdog`.
        """
        self.run, self.folder, self.model = run, folder, model
        self.pictures = Pictures(model, dataset, settings.seed, device)
        self.watchdog = Watchdog(model, dataset, settings, device, best, source)
        self.events = Events(settings.log or ())
        self.saver = Saver(folder, header, settings.keep)
        self.history = History(folder, header, model, settings.keep_history)
        self.profile = Profile(folder if settings.profile else None)
        self.follower = follower
        self._told: set[str] = set()
        self.log: MetricsLog | None = None
        self.status, self.stand = StatusFile(folder), Status("training")
        self.now = 0
        self._save_is_wanted = False
        self.display = Display(1, 1, 1)  # until `begin`
        self._summary_due = time.monotonic() + SUMMARY_EVERY

    @property
    def offset(self) -> int:
        """The length of metrics.jsonl, which a checkpoint remembers."""
        return self._log().offset

    @property
    def place(self) -> str:
        """Where checkpoints lie, for messages."""
        return str(self.run.state)

    def _log(self) -> MetricsLog:
        if self.log is None:
            self.log = MetricsLog(self.folder)
        return self.log

    def started(self) -> None:
        """Tell the loggers; raises UserError where one cannot work."""
        self.events.started(self.run)

    def begin(self, total: int, per_epoch: int, batch_size: int, step: int) -> None:
        """Open the log, and show a training that stands at `step`."""
        self._log()
        self.history.begin(total, step)
        facts = total, per_epoch, batch_size, step
        if self.follower is None:
            self.display = TerminalDisplay(*facts)
        else:
            self.display = FollowedDisplay(self.follower, *facts)
        self.now = step
        self.note()
        self.watchdog.begin(total, per_epoch, batch_size)
        for message in [] if step else self.watchdog.at_start():
            self.warn(message)

    def begin_epoch(self, step: int) -> None:
        """Start the epoch's clock; evaluation, pictures and saving do not count as training."""
        self.display.begin_epoch(step)

    def stepped(self, step: int, loss: Callable[[], float | None]) -> None:
        """After every step; `loss` waits for the device, so it is asked a few times a second."""
        self.now = step
        self.profile.step()
        self.history.stepped(step)
        if self.display.due():
            self.display.step(step, loss())
        if self.status.due():
            self._save_is_wanted = self.status.save_is_wanted()
            self.note()

    def note(self, state: str = "training", reason: str = "", rate: float | None = None) -> None:
        """Write down how the training stands, for ``gentool runs``."""
        shown, step = self.display, self.now
        if state != "training":
            rate = self.stand.examples_per_s
        epoch = max(1, -(-step // shown.per_epoch))
        rate = self.rate(step) if rate is None else rate
        self.stand = Status(state, step, shown.total, epoch, shown.epochs, rate, reason)
        self.status.write(self.stand)

    def save_is_wanted(self) -> bool:
        """Whether ``gentool runs checkpoint`` asked for one since the last."""
        return self._save_is_wanted

    def row(self, epoch: int, step: int, split: str, scalars: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        row = {"epoch": epoch, "step": step, "split": split, **scalars}
        self._log().write(row)
        self.events.logged(self.run, row)

    def picture(self, step: int) -> None:
        """Draw samples; the model is in eval mode."""
        require_there(self.folder)
        with (
            user_errors("the sample picture", self.run.samples),
            self.folder.folder("samples", make=True) as samples,
        ):
            if not is_due(samples, step) and step < self.stand.total:
                return
            with samples.written(f"{step:06d}.png") as file:
                self.pictures.draw(step, file)
            thin(samples)

    def watched(self, step: int) -> Rows:
        """What a look at samples gives, as another split's row; the model is in eval mode."""
        return {"samples": self.watchdog.look(step)}

    def rate(self, step: int) -> float:
        """Training examples a second in this epoch."""
        return self.display.rate(step)

    def epoch(self, epoch: int, step: int, rate: float, rows: Rows) -> None:
        """Write an epoch's rows and warnings, and show them."""
        self.note(rate=rate)
        for split, scalars in rows.items():
            self.row(epoch, step, split, scalars)
        for message in self.watchdog.warnings(rows, step):
            kind = re.sub(r"[0-9]", "", message)  # the log has it each time, a person reads it once
            if kind not in self._told:
                self.warn(message)
            self._told.add(kind)
            self.row(epoch, step, "warning", {"warning": message})
        self.display.epoch(epoch, step, rate, rows)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.display.warn(message)

    def save(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint written, and from it the model file that samples."""
        self._log().sync()
        self.saver.save(checkpoint)
        if self._save_is_wanted:
            self.saver.wait()
            self._save_is_wanted = False
            self.status.saved()

    def epoch_ended(self, epoch: int, step: int) -> None:
        """Tell the loggers of an epoch whose files are being written, and sum the run up so far.

        Not after every epoch of a few seconds: summing up takes a twentieth of the time at most.
        """
        self.events.epoch_ended(self.run, epoch, step)
        began = time.monotonic()
        if began < self._summary_due:
            return
        try:
            self._summarise()
        except UserError as error:  # training is worth more than its curves
            self.warn(str(error))
        took = time.monotonic() - began
        self._summary_due = began + took + max(SUMMARY_EVERY, took / SUMMARY_SHARE)

    def graphs(self, states: Mapping[str, str]) -> None:
        """How each player's updates ran, for the profile."""
        self.profile.graphs = dict(states)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Cut metrics.jsonl to what `checkpoint` knows of, and write the model it holds."""
        self.log = MetricsLog(self.folder, int(checkpoint.values["metrics_bytes"]))
        self.saver.derive(checkpoint)

    def flush(self) -> None:
        """Return when everything is on disk; raises UserError where it could not be written."""
        if self.profile.table:
            graphs = [f"{name}: {state}" for name, state in self.profile.graphs.items()]
            self.display.say("\n".join([self.profile.table, *graphs]))
        self.saver.wait()

    def close(self) -> None:
        """End the display, the saver's thread and the log."""
        self.display.close()
        self.saver.close()
        if self.log is not None:
            self.log.close()

    def finished(self) -> None:
        """Sum the run up, and tell the loggers."""
        self.note("finished")
        self._summarise()
        self.events.finished(self.run)
        self._require_name()

    def stopped(self, reason: Stopped) -> Stopped:
        """The same early on; returns the reason with how to go on."""
        self.note("stopped", str(reason))
        self._summarise()
        self.events.failed(self.run, reason)
        self._require_name()
        command = f"{program()} resume {shlex.quote(str(self.run.path))}"
        return Stopped(reason.reason, reason.code, command)

    def failed(self, error: BaseException) -> None:
        """Tell the loggers."""
        sentence = str(error) if isinstance(error, UserError) else type(error).__name__
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        self.note("stopped" if interrupted else "failed", sentence)
        self.events.failed(self.run, error)

    def _summarise(self) -> None:
        """Curves, film and model card, from what the run has so far."""
        require_there(self.folder)
        summarise(self.run, self.folder, self.model)

    def _require_name(self) -> None:
        """Say where the run is not called any more what it was."""
        if not self.folder.is_at(self.run.path):
            raise UserError(
                f"the run's folder {printable(str(self.run.path))} was moved while it was trained; "
                "everything is saved, under its new name"
            )
