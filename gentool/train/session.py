"""From a job to a finished run, and from a stopped run to a finished one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gentool import data, index, options
from gentool.console import loading_bar, say
from gentool.data.dataset import Dataset
from gentool.devices import pick_device, set_up
from gentool.errors import UserError, printable
from gentool.folder import Folder
from gentool.hooks import Events
from gentool.matmul import choose_matmul, prove_matmul
from gentool.model import Model
from gentool.ops import noise
from gentool.runs import Run
from gentool.train import again, distributed
from gentool.train.best import ranked_by, require_scalar
from gentool.train.checks import most_bytes
from gentool.train.claim import locked_run, new_run, newest, require_same_data
from gentool.train.continuing import refuse_less, standing
from gentool.train.distributed import World
from gentool.train.environment import compare, environment
from gentool.train.job import Job, check_data, from_run, make_model, without_effect
from gentool.train.loop import Trainer
from gentool.train.opening import remarks, surroundings
from gentool.train.progress import Follower
from gentool.train.recorder import Recorder, RunRecorder
from gentool.train.rehearsal import rehearsal, step_threads
from gentool.train.stopping import Stopped


def start(job: Job, out: Path | None = None, progress: Follower | None = None) -> Run:
    """Train a model into a new run.

    Args:
        out: the run's directory; None for the next free one below ./runs.
        progress: called with how training stands, instead of a display on the terminal.

    Raises:
        Stopped: after a signal or --max-time, with everything saved.
        UserError: for whatever the user can mend.
    """
    with session(job, progress) as s:
        if s.world.is_main:
            for sentence in without_effect(job, s.dataset.spec):
                warnings.warn(sentence, stacklevel=2)
        with new_run(out, job.plugin.name, s.dataset.name, s.world) as (run, folder):
            trainer, recorder = s.trainer(run, folder)
            if folder is not None:
                content = job.to_json(s.dataset) | {"environment": environment(s.world.device)}
                again.write(folder, content, job)
                how = surroundings(s.world.device, job.settings.precision)
                s.say(f"training {job.plugin.name} on {s.dataset.name} into {run.path}: {how}")
                for remark in remarks(trainer.model, s.world.device):
                    s.say(f"note: {remark}")
            finish(trainer, recorder)
    return run


def resume(
    run: Run,
    changes: Mapping[str, Any],
    cache: str | None = None,
    progress: Follower | None = None,
) -> Run:
    """Continue a run from its newest checkpoint; raises what `start` raises.

    Args:
        changes: settings that may differ, by field name.
        cache: the folder for data that can be made again, which a run never chooses.
        progress: as in `start`.
    """
    saved = run.read_config()
    job = from_run(run, saved, changes, cache)
    with session(job, progress) as s:
        if s.dataset.fingerprint != saved.get("fingerprint"):
            raise UserError(
                f"the data {printable(job.data_options.data)!r} is not what the run "
                f"{printable(str(run.path))} was trained on; put the old data back, or start a "
                "new run"
            )
        with locked_run(run, s.world) as folder:  # before anything of the run is touched
            index.remember(run.path)
            trainer, recorder = s.trainer(run, folder)
            if (checkpoint := newest(run, most_bytes(trainer.model.state_dict()))) is not None:
                refuse_less(run, trainer, checkpoint, changes)
                trainer.restore(checkpoint)
            if folder is not None:
                compare(saved, job, environment(s.world.device))
                s.say(standing(run, trainer))
                again.write(folder, {**saved, "settings": options.to_json(job.settings)}, job)
            finish(trainer, recorder)
    return run


@dataclass(frozen=True)
class Session:
    """A process that is set up for a job, with its data and its model, on the device."""

    job: Job
    world: World
    dataset: Dataset
    model: Model
    progress: Follower | None

    def say(self, message: str) -> None:
        """A line for the person, unless a function follows the training instead."""
        if self.progress is None:
            say(message)

    def trainer(self, run: Run, folder: Folder | None) -> tuple[Trainer, Recorder]:
        """What trains, and what records it; the latter does nothing but in the main process.

        Args:
            folder: the run's, locked; None in any other process.
        """
        job, world, dataset, model = self.job, self.world, self.dataset, self.model
        recorder = Recorder()
        if folder is not None:
            recorder = RunRecorder(
                run,
                folder,
                job.header(dataset.spec),
                model,
                dataset,
                job.settings,
                world.device,
                self.progress,
                ranked_by(job.spec, dataset, job.settings),
                job.data_options.data.partition(":")[0],
            )
        else:  # other dropout masks than the main process
            torch.manual_seed(job.settings.seed + world.rank)
        trainer = Trainer(model, job.spec, dataset, job.settings, world, recorder)
        with rehearsal(trainer) as work:
            prove_matmul(work)
        trainer.game.threads = step_threads(trainer)
        return trainer, recorder


@contextmanager
def session(job: Job, progress: Follower | None) -> Iterator[Session]:
    """Set the process up, load the data and build the model, before anything is written."""
    settings = job.settings
    drawn = noise.VERSION if job.noise is None else job.noise
    if drawn not in noise.VERSIONS:
        raise UserError(
            f"the run draws noise of version {drawn}, which this release does not know; "
            "resume it with the release that trained it"
        )
    Events(settings.log or ())  # an unknown logger is told of now
    world = distributed.join(pick_device(settings.device))
    threads = torch.get_num_threads()
    try:
        set_up(settings.threads, settings.deterministic, settings.seed)
        choose_matmul(world.device)
        with world.main_first(), loading_bar() as bar:
            show = bar if progress is None else _silent
            dataset = data.load(job.data_options, progress=show)
        require_same_data(world, dataset)
        check_data(job, dataset.spec)
        model = make_model(job, dataset).to(world.device)
        require_scalar(settings, model, dataset, world)
        with noise.version(drawn):
            yield Session(job, world, dataset, model, progress)
            world.barrier()
    finally:
        torch.set_num_threads(threads)  # a training leaves the process as it was
        distributed.leave()


def _silent(what: str, done: int, total: int) -> None:
    """Progress of loading that nobody looks at."""


def finish(trainer: Trainer, recorder: Recorder) -> None:
    """Train to the end, and draw what is drawn at the end, be it early."""
    recorder.started()
    try:
        trainer.fit()
    except Stopped as reason:
        raise recorder.stopped(reason) from None
    except BaseException as error:
        recorder.failed(error)
        raise
    recorder.finished()
