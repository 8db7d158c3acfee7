"""From options to a finished run, and from a stopped run to a finished one."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gentool import data, options, plugins, runs, weights
from gentool.console import loading_bar, say
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.files import write_json
from gentool.model import Model, Prepares
from gentool.render.card import write_card
from gentool.runs import Run
from gentool.spec import DataSpec, ModelSpec
from gentool.train.batches import some_examples
from gentool.train.devices import pick_device, set_up
from gentool.train.loop import Trainer
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest
from gentool.train.stopping import Stopped
from gentool.version import __version__

DEFAULT_EPOCHS = 10
PREPARE_WITH = 10_000


def start(
    plugin: plugins.Plugin,
    spec: ModelSpec,
    config: Any,
    data_options: DataOptions,
    settings: TrainSettings,
    out: Path | None,
) -> None:
    """Train a model into a new run and print the run's path."""
    if settings.epochs is None and settings.steps is None:
        settings = dataclasses.replace(settings, epochs=DEFAULT_EPOCHS)
    device = pick_device(settings.device)
    with loading_bar() as progress:
        dataset = data.load(data_options, progress=progress)
    check_data(plugin.name, spec, dataset.spec)
    set_up(settings.threads, settings.deterministic, settings.seed)
    model = build_model(spec, config, dataset.spec)
    run = runs.create(out, plugin.name, dataset.name)
    header = weights.Header(
        plugin.name,
        plugin.distribution,
        plugin.version,
        options.to_json(config),
        dataset.spec,
        {},
    )
    write_json(
        run.config,
        {
            **header.to_json(),
            "settings": options.to_json(settings),
            "data_options": options.to_json(data_options),
            "fingerprint": dataset.fingerprint,
            "environment": environment(device),
        },
    )
    if isinstance(model, Prepares):
        model.prepare(some_examples(dataset.train, PREPARE_WITH))
    trainer = Trainer(model.to(device), header, spec, dataset, settings, run, device)
    say(f"training {plugin.name} on {dataset.name} into {run.path}")
    finish(trainer, run)


def go_on(run: Run, changes: Mapping[str, Any]) -> None:
    """Continue a run from its newest checkpoint; `changes` are settings that may differ."""
    saved = run.read_config()
    try:
        wanted = (saved["model"], saved["plugin"]["distribution"])
        parts = [saved[k] for k in ("config", "data_options", "settings")]
        recorded = saved["environment"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{printable(str(run.config))} is not a run's config ({error})") from error
    plugin = plugins.find(f"{wanted[1]}:{wanted[0]}")
    spec = plugins.spec_of(plugin)
    if "steps" in changes:
        parts[2] = {**parts[2], "epochs": None}
    elif "epochs" in changes:
        parts[2] = {**parts[2], "steps": None}
    parts[2] = {**parts[2], "max_time": None, **changes}
    kinds = (spec.config, DataOptions, TrainSettings)
    config, data_options, settings = (
        options.build(kind, values, f"in {run.config}")
        for kind, values in zip(kinds, parts, strict=True)
    )
    device = pick_device(settings.device)
    with loading_bar() as progress:
        dataset = data.load(data_options, progress=progress)
    if dataset.fingerprint != saved.get("fingerprint"):
        raise UserError(
            f"the data {printable(data_options.data)!r} is not what the run {run.path} was trained "
            "on; put the old data back, or start a new run"
        )
    set_up(settings.threads, settings.deterministic, settings.seed)
    model = build_model(spec, config, dataset.spec).to(device)
    header = weights.Header(
        plugin.name, plugin.distribution, plugin.version, options.to_json(config), dataset.spec, {}
    )
    trainer = Trainer(model, header, spec, dataset, settings, run, device)
    trainer.restore(load_newest(run.state))
    here = environment(device)
    for key in sorted(here.keys() - {"gentool"}):
        if here[key] != recorded.get(key):
            say(
                f"warning: {key} is {here[key]}, the run had {recorded.get(key)}; "
                "it continues, but not bit for bit"
            )
    if trainer.step >= trainer.total:
        say(f"the run {run.path} is finished at step {trainer.step}; ask for more with --epochs")
    write_json(run.config, {**saved, "settings": options.to_json(settings)})
    finish(trainer, run)


def finish(trainer: Trainer, run: Run) -> None:
    """Train to the end; draw what is drawn at the end; say what can be done next."""
    stopped: Stopped | None = None
    try:
        trainer.fit()
    except Stopped as reason:
        stopped = reason
    rows = run.read_metrics()
    from gentool.render.curves import save_curves

    save_curves(rows, run.curves)
    if len(pictures := sorted(run.samples.glob("*.png"))) > 2:
        from gentool.render.film import save_film

        save_film(pictures, run.film)
    write_card(run, rows, trainer.model)
    if stopped is not None:
        say(f"{stopped}; go on with: gentool resume {run.path}")
        sys.exit(stopped.code)
    say(f"done; sample with: gentool sample {run.path} --n 64")
    print(run.path)


def check_data(name: str, spec: ModelSpec, data_spec: DataSpec) -> None:
    """Refuse data of a kind that the model does not learn."""
    if data_spec.kind not in spec.data:
        raise UserError(
            f"{name} learns {' and '.join(spec.data)}, but this data is {data_spec.kind}; "
            "`gentool data list` shows what there is"
        )


def build_model(spec: ModelSpec, config: Any, data_spec: DataSpec) -> Model:
    """Build a model on the CPU; options that do not fit the data are a UserError."""
    try:
        model = spec.load_factory()(config, data_spec)
    except ValueError as error:
        raise UserError(str(error)) from error
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
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
    }
