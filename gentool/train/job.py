"""A job: what is to be trained on what, and how, whatever it was asked for by.

The command line and Python give options, a recipe or another TOML file holds some, and a run's
config.json holds all of them. Whichever it was, the same `Job` comes of it. No torch here until a
model is built, so that a wrong option is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gentool import options, plugins, recipefiles, weights
from gentool.data.options import DataOptions
from gentool.errors import UserError, nearest, printable
from gentool.plugins import Plugin
from gentool.runs import Run
from gentool.spec import DataSpec, ModelSpec
from gentool.train.settings import TrainSettings, trainable

if TYPE_CHECKING:
    from gentool.data.dataset import Dataset
    from gentool.model import Model

DEFAULT_EPOCHS = 10
PREPARE_WITH = 10_000

BEFORE = {"ema_warmup": False, "judge_samples": 0}
"""What a run does whose config.json was written before these settings were."""
"""Training examples that a model which wants to see some before training is shown."""


@dataclass(frozen=True)
class Job:
    """What is to be trained on what, and how.

    Attributes:
        noise: the version of the random draws (`gentool.ops.noise`); None: of this release.
    """

    plugin: Plugin
    spec: ModelSpec
    config: Any
    data_options: DataOptions
    settings: TrainSettings
    noise: int | None = None

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

    def to_json(self, dataset: Dataset) -> dict[str, Any]:
        """The run's config.json, but for the environment."""
        from gentool.ops.noise import VERSION

        return {
            **self.header(dataset.spec).to_json(),
            "settings": options.to_json(self.settings),
            "data_options": options.to_json(self.data_options),
            "fingerprint": dataset.fingerprint,
            "noise": VERSION if self.noise is None else self.noise,
        }


def from_options(model: str, values: Mapping[str, Any], file: Path | None = None) -> Job:
    """The job of ``gentool train MODEL``: the model's defaults, a file over them, values over both.

    Args:
        model: the name of an installed model, or ``DISTRIBUTION:NAME``.
        values: options by field name: the model's own, of the data and of training.
        file: a TOML file with more of them, or a shipped recipe's name.

    Raises:
        UserError: for an unknown model or option, and for values out of bounds.
    """
    plugin = plugins.find(model)
    spec = trainable(plugin)
    chosen = dict(spec.defaults)
    if file is not None:
        fields = [f for kind in _kinds(spec) for f in options.fields_of(kind)]
        path = recipefiles.locate(file)
        chosen = override(chosen, options.read_toml(path, fields, plugin.name))
    chosen = override(chosen, values)
    if chosen.get("epochs") is None and chosen.get("steps") is None:
        chosen["epochs"] = DEFAULT_EPOCHS
    return _job(plugin, spec, chosen)


def from_run(
    run: Run, saved: Mapping[str, Any], changes: Mapping[str, Any], cache: str | None = None
) -> Job:
    """The job that a run's config.json describes, with some settings of training changed.

    Args:
        saved: the content of the run's config.json.
        changes: settings by field name.
        cache: the folder for data that can be made again; what the run says of it does not count.
    """
    try:
        name, distribution = saved["model"], saved["plugin"]["distribution"]
        config, data_options, settings = (
            dict(saved[k]) for k in ("config", "data_options", "settings")
        )
        if not isinstance(name, str) or not isinstance(distribution, str):
            raise ValueError("the model's name is no text")
        version = saved.get("format_version", weights.FORMAT_VERSION)
        if type(version) is not int or version < 1:
            raise ValueError("its format_version is no number")
        noise = saved.get("noise", 1)  # before it was written down
        if type(noise) is not int:
            raise ValueError("the noise has no version")
    except (KeyError, TypeError, ValueError) as error:
        reason = printable(str(error), 100)
        raise UserError(f"{printable(str(run.config))} is not a run's config ({reason})") from error
    if version > weights.FORMAT_VERSION:
        raise UserError(
            f"{printable(str(run.config))} has format version {version}, newer than this gentool "
            f"reads ({weights.FORMAT_VERSION}); upgrade gentool"
        )
    plugin = plugins.find(f"{distribution}:{name}")
    spec = trainable(plugin)
    settings = {**BEFORE, **settings}
    settings["max_time"] = None  # a time limit holds for one process only
    source = f"in {printable(str(run.config))}"
    return Job(
        plugin,
        spec,
        options.build(spec.config, config, source),
        DataOptions.of_run(data_options, cache, source),
        options.build(TrainSettings, override(settings, changes), source),
        noise,
    )


def override(chosen: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`chosen` with `more` on top, where a length in `more` replaces the other kind of length.

    So ``--steps`` wins over a file's ``epochs``. Both in one place stay, and are refused by
    `TrainSettings`.
    """
    kept = dict(chosen)
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if more.get(one) is not None and more.get(other) is None:
            kept.pop(other, None)
    return {**kept, **more}


def _kinds(spec: ModelSpec) -> tuple[type, ...]:
    return spec.config, DataOptions, TrainSettings


def _job(plugin: Plugin, spec: ModelSpec, chosen: Mapping[str, Any]) -> Job:
    """Each option into the config that has it; raises UserError for one that none has."""
    rest = dict(chosen)
    parts = []
    for kind in _kinds(spec):
        names = {f.name for f in options.fields_of(kind)}
        parts.append(options.build(kind, {k: rest.pop(k) for k in list(rest) if k in names}))
    if rest:
        known = [f.name for kind in _kinds(spec) for f in options.fields_of(kind)]
        name = next(iter(rest))
        raise UserError(f"unknown option {printable(name)!r}{nearest(name, known)}")
    return Job(plugin, spec, *parts)


def check_data(job: Job, data_spec: DataSpec) -> None:
    """Refuse data of a kind that the model does not learn."""
    if data_spec.kind not in job.spec.data:
        raise UserError(
            f"{job.plugin.name} learns {' and '.join(job.spec.data)}, but this data is "
            f"{data_spec.kind}; `gentool data list` shows what there is"
        )


def without_effect(job: Job, data_spec: DataSpec) -> list[str]:
    """Options of the job that change nothing on such data, a sentence each.

    A model's own defaults for core options count as not asked for.
    """
    of_model = options.without_effect(job.config, data_spec)
    return of_model + options.without_effect(job.settings, data_spec)


def make_model(job: Job, dataset: Dataset) -> Model:
    """The job's model on the CPU, and, where it wants to, with a look at training data."""
    from gentool.model import Prepares
    from gentool.train.batches import some_examples

    model = build_model(job.spec, job.config, dataset.spec)
    if isinstance(model, Prepares):
        model.prepare(some_examples(dataset.train, PREPARE_WITH))
    return model


def build_model(spec: ModelSpec, config: Any, data_spec: DataSpec) -> Model:
    """Build a model on the CPU; options that do not fit the data, or memory, are a UserError."""
    import torch

    from gentool.devices import physical_memory
    from gentool.model import Model, parameter_count

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
