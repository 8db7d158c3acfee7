"""From options to a finished run, and from a stopped run to a finished one."""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gentool import data, options, plugins, runs, weights
from gentool.console import loading_bar, say
from gentool.data.dataset import Dataset
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.files import user_errors, write_json
from gentool.hooks import Events
from gentool.litter import sweep_run
from gentool.model import Model, Prepares, parameter_count
from gentool.plugins import Plugin
from gentool.render.card import write_card
from gentool.runs import Run
from gentool.spec import DataSpec, ModelSpec
from gentool.train import distributed
from gentool.train.batches import some_examples
from gentool.train.devices import physical_memory, pick_device, set_up
from gentool.train.distributed import World
from gentool.train.lock import locked
from gentool.train.loop import Trainer
from gentool.train.matmul import choose_matmul, matmul_library
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest, stored
from gentool.train.stopping import Stopped
from gentool.version import __version__

DEFAULT_EPOCHS = 10
PREPARE_WITH = 10_000


@dataclass(frozen=True)
class Job:
    """What is to be trained on what, and how."""

    plugin: Plugin
    spec: ModelSpec
    config: Any
    data_options: DataOptions
    settings: TrainSettings

    def header(self, data_spec: DataSpec) -> weights.Header:
        """What the job's model file says of itself."""
        return weights.Header(
            self.plugin.name,
            self.plugin.distribution,
            self.plugin.version,
            options.to_json(self.config),
            data_spec,
            {},
        )

    def to_json(self, dataset: Dataset, device: torch.device) -> dict[str, Any]:
        """The run's config.json."""
        return {
            **self.header(dataset.spec).to_json(),
            "settings": options.to_json(self.settings),
            "data_options": options.to_json(self.data_options),
            "fingerprint": dataset.fingerprint,
            "environment": environment(device),
        }


def start(job: Job, out: Path | None) -> Run:
    """Train a model into a new run.

    Raises:
        Stopped: after a signal or --max-time, with everything saved.
        UserError: for whatever the user can mend.
    """
    if job.settings.epochs is None and job.settings.steps is None:
        epochs = dataclasses.replace(job.settings, epochs=DEFAULT_EPOCHS)
        job = dataclasses.replace(job, settings=epochs)
    world, dataset = setup(job)
    try:
        model = prepared(build_model(job.spec, job.config, dataset.spec), dataset)
        run = Run(Path(os.devnull))  # of a process that writes nothing
        if world.is_main:
            run = runs.create(out, job.plugin.name, dataset.name)
            with user_errors("the run's config", run.config):
                write_json(run.config, job.to_json(dataset, world.device))
            say(f"training {job.plugin.name} on {dataset.name} into {run.path}")
        with locked_run(run, world):
            finish(make_trainer(job, model, dataset, run, world))
        world.barrier()
    finally:
        distributed.leave()
    return run


def resume(run: Run, changes: Mapping[str, Any], cache: str | None = None) -> Run:
    """Continue a run from its newest checkpoint; `changes` are settings that may differ."""
    saved = run.read_config()
    job = read_job(run, saved, changes, cache)
    world, dataset = setup(job)
    try:
        if dataset.fingerprint != saved.get("fingerprint"):
            raise UserError(
                f"the data {printable(job.data_options.data)!r} is not what the run {run.path} was "
                "trained on; put the old data back, or start a new run"
            )
        model = prepared(build_model(job.spec, job.config, dataset.spec), dataset)
        with locked_run(run, world):  # before anything of the run is touched
            trainer = make_trainer(job, model, dataset, run, world)
            if has_checkpoints(run):
                trainer.restore(load_newest(run.state))
            if world.is_main:
                compare_environment(saved.get("environment"), environment(world.device))
                say_if_finished(trainer)
                write_json(run.config, {**saved, "settings": options.to_json(job.settings)})
            finish(trainer)
        world.barrier()
    finally:
        distributed.leave()
    return run


@contextmanager
def locked_run(run: Run, world: World) -> Iterator[None]:
    """Lock the run, by the process that writes it, and clear what a killed one left."""
    if not world.is_main:
        yield
        return
    with locked(run.path):
        sweep_run(run.path)
        yield


def has_checkpoints(run: Run) -> bool:
    """Whether there is something to go on from; without, a run that wrote nothing starts again.

    Raises UserError where a run has metrics but no checkpoint: it would be trained over.
    """
    if stored(run.state):
        return True
    if run.metrics.exists() and run.metrics.stat().st_size:
        raise UserError(
            f"the checkpoints of {printable(str(run.path))} are gone, so it cannot go on; "
            "its model can still be sampled, or train a new run"
        )
    return False


def say_if_finished(trainer: Trainer) -> None:
    """Tell a person who resumes a finished run what to ask for."""
    if trainer.step >= trainer.total:
        say(f"{trainer.run.path} is finished at step {trainer.step}; ask for more with --epochs")


def read_job(
    run: Run, saved: Mapping[str, Any], changes: Mapping[str, Any], cache: str | None = None
) -> Job:
    """The job that a run's config.json describes, with some settings and the cache changed."""
    try:
        name, distribution = saved["model"], saved["plugin"]["distribution"]
        config, data_options, settings = (
            dict(saved[k]) for k in ("config", "data_options", "settings")
        )
        if not isinstance(name, str) or not isinstance(distribution, str):
            raise ValueError("the model's name is no text")
    except (KeyError, TypeError, ValueError) as error:
        reason = printable(str(error), 100)
        raise UserError(f"{printable(str(run.config))} is not a run's config ({reason})") from error
    plugin = plugins.find(f"{distribution}:{name}")
    spec = plugins.spec_of(plugin)
    # --epochs and --steps exclude each other, and a time limit holds for one process only.
    settings["max_time"] = None
    if "steps" in changes:
        settings["epochs"] = None
    elif "epochs" in changes:
        settings["steps"] = None
    source = f"in {printable(str(run.config))}"
    return Job(
        plugin,
        spec,
        options.build(spec.config, config, source),
        DataOptions.of_run(data_options, cache, source),
        options.build(TrainSettings, {**settings, **changes}, source),
    )


def setup(job: Job) -> tuple[World, Dataset]:
    """Set the process up and load the data, before anything is written."""
    Events(job.settings.log or ())  # an unknown logger is told of now
    world = distributed.join(pick_device(job.settings.device))
    set_up(job.settings.threads, job.settings.deterministic, job.settings.seed)
    choose_matmul(world.device)
    with world.main_first(), loading_bar() as progress:
        dataset = data.load(job.data_options, progress=progress)
    check_data(job.plugin.name, job.spec, dataset.spec)
    return world, dataset


def prepared(model: Model, dataset: Dataset) -> Model:
    """Let the model look at training data, where it wants to."""
    if isinstance(model, Prepares):
        model.prepare(some_examples(dataset.train, PREPARE_WITH))
    return model


def make_trainer(job: Job, model: Model, dataset: Dataset, run: Run, world: World) -> Trainer:
    """Put everything together; other processes than the first draw other dropout masks."""
    if not world.is_main:
        torch.manual_seed(job.settings.seed + world.rank)
    model, header = model.to(world.device), job.header(dataset.spec)
    trainer = Trainer(model, header, job.spec, dataset, job.settings, run, world)
    if world.is_main:
        trainer.events = Events(job.settings.log or ())
    return trainer


def finish(trainer: Trainer) -> None:
    """Train to the end, and draw what is drawn at the end, be it early."""
    if not trainer.world.is_main:
        trainer.fit()
        return
    run = trainer.run
    trainer.events.started(run)
    try:
        trainer.fit()
    except Stopped as reason:
        summarise(trainer)
        trainer.events.failed(run, reason)
        command = f"gentool resume {shlex.quote(str(run.path))}"
        raise Stopped(f"{reason}; go on with: {command}", reason.code) from None
    except BaseException as error:
        trainer.events.failed(run, error)
        raise
    summarise(trainer)
    trainer.events.finished(run)


def summarise(trainer: Trainer) -> None:
    """Curves, film and model card, from what the run has so far."""
    from gentool.render.curves import save_curves
    from gentool.render.film import save_film

    run, rows = trainer.run, trainer.run.read_metrics()
    with user_errors("the run's summary", run.path):
        save_curves(rows, run.curves)
        if len(pictures := run.pictures()) > 2:
            save_film(pictures, run.film)
        write_card(run, rows, trainer.model)


def compare_environment(then: Any, now: Mapping[str, Any]) -> None:
    """Warn of whatever differs that bit-exact repetition depends on."""
    then = then if isinstance(then, dict) else {}
    then = {"matmul": "default", **then}  # of a run from before it was a choice
    for key in sorted(now.keys() - {"gentool"}):
        if now[key] != then.get(key):
            say(
                f"warning: {key} is {now[key]}, the run had {printable(str(then.get(key)))}; "
                "it continues, but not bit for bit"
            )


def check_data(name: str, spec: ModelSpec, data_spec: DataSpec) -> None:
    """Refuse data of a kind that the model does not learn."""
    if data_spec.kind not in spec.data:
        raise UserError(
            f"{name} learns {' and '.join(spec.data)}, but this data is {data_spec.kind}; "
            "`gentool data list` shows what there is"
        )


def build_model(spec: ModelSpec, config: Any, data_spec: DataSpec) -> Model:
    """Build a model on the CPU; options that do not fit the data, or memory, are a UserError."""
    try:
        with torch.device("meta"):  # shapes only: nothing is allocated yet
            size = parameter_count(spec.load_factory()(config, data_spec))
        # Weights, gradients and Adam's two moments, in fp32.
        if 16 * size > (there := physical_memory()):
            raise UserError(
                f"this model has {size:,} parameters and needs {16 * size / 2**30:,.0f} GiB to "
                f"train, but this machine has {there / 2**30:,.0f} GiB of memory; make it smaller"
            )
        model = spec.load_factory()(config, data_spec)
    except ValueError as error:
        raise UserError(str(error)) from error
    except (RuntimeError, TypeError, OverflowError) as error:
        # Sizes that no tensor can have; whatever else goes wrong here is the plugin's.
        if "overflow" not in str(error).lower():
            raise
        raise UserError("this model is larger than any tensor can be; make it smaller") from error
    assert isinstance(model, Model)
    return model


def environment(device: torch.device) -> dict[str, Any]:
    """What bit-exact repetition depends on beside the options."""
    from gentool import ops

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "gentool": __version__,
        "torch": torch.__version__,
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
        "kernels": "native" if ops.native.serves(device.type) else "reference",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "matmul": matmul_library(),
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
    }
