"""Rules about what a plugin hands over, and about building the model from it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from dataclasses import replace
from typing import get_args

import torch

from gentool import options, subprocesses
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.options import SpecError
from gentool.spec import Capability
from gentool.testing.subject import Candidate, ConformanceError, demand, first_difference
from gentool.train.settings import TrainSettings, check_spec_options

PROBE = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
hook = getattr(module, "gentool_model", None)
if hook is not None:
    hook()
sys.exit(17 if "torch" in sys.modules else 0)
"""


def door(subject: Candidate) -> None:
    """Importing the module with the hook, and calling it, leaves torch out."""
    done = subprocess.run(
        subprocesses.python("-c", PROBE, subject.door),
        capture_output=True,
        text=True,
        env=subprocesses.environment(),
        timeout=120,
    )
    demand(
        done.returncode != 17,
        f"importing {subject.door} imports torch, which makes `gentool models` slow; import it in "
        "the module that the spec's factory names, and nowhere else",
    )
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    demand(done.returncode == 0, f"{subject.door} cannot be imported afresh: {last[0]}")


def spec(subject: Candidate) -> None:
    """The spec is complete: a summary, help for every option, known kinds and capabilities."""
    given = subject.spec
    try:
        check_spec_options(given)
    except SpecError as error:
        raise ConformanceError(str(error)) from error
    demand(bool(given.summary.strip()), "the spec's summary is empty; say what the model is")
    demand("\n" not in given.summary, "the spec's summary must be one line: it stands in a table")
    kinds = set(given.data)
    demand(
        bool(kinds) and kinds <= {"image", "points"},
        f"the spec's data is {given.data!r}; it takes 'image', 'points' or both",
    )
    unknown = set(given.capabilities) - set(get_args(Capability))
    demand(not unknown, f"the spec names the unknown capabilities {sorted(unknown)}")
    demand("sample" in given.capabilities, "every model samples: add 'sample' to capabilities")
    demand(":" in given.factory, "the spec's factory is not of the form 'package.module:function'")
    for field in options.fields_of(given.config):
        demand(
            bool(field.option.help.strip()),
            f"the option {field.flag} has no help; write {field.name}: "
            f"Annotated[…, Option('what it is')] = …",
        )
    try:
        for kind in (TrainSettings, DataOptions):
            names = {f.name for f in options.fields_of(kind)}
            options.build(kind, {k: v for k, v in given.defaults.items() if k in names})
    except UserError as error:
        raise ConformanceError(f"the spec's defaults are no valid options: {error}") from error


def config(subject: Candidate) -> None:
    """The config survives the trip through JSON, which model files and runs make it take."""
    kind = subject.spec.config
    parameters = getattr(kind, "__dataclass_params__", None)
    demand(
        dataclasses.is_dataclass(kind) and bool(getattr(parameters, "frozen", False)),
        f"{kind.__name__} must be a frozen dataclass: write @dataclass(frozen=True)",
    )
    for made in (kind(), subject.config):
        try:
            text = json.dumps(options.to_json(made), allow_nan=False)
            back = options.build(kind, json.loads(text))
        except (UserError, TypeError, ValueError) as error:
            raise ConformanceError(
                f"the config {made} does not come back from JSON: {error}; give every field a "
                "default within its own bounds, and make no changes in __post_init__"
            ) from error
        demand(back == made, f"the config comes back from JSON as {back} instead of {made}")


def build(subject: Candidate) -> None:
    """The factory builds the same model twice, and also without memory for its weights."""
    try:
        model = subject.build()
    except ValueError as error:
        raise ConformanceError(
            f"the factory refuses {subject.data.kind} of shape {subject.data.shape} ({error}), but "
            "the spec's data promises that kind; correct one of them"
        ) from error
    for name in ("data", "latent_shape"):
        demand(hasattr(model, name), f"the model has no attribute {name!r}; set it in __init__")
    demand(model.data == subject.data, "model.data is not the DataSpec that the factory was given")
    demand(
        isinstance(model.latent_shape, tuple) and all(type(n) is int for n in model.latent_shape),
        f"model.latent_shape is {model.latent_shape!r}; it must be a tuple of ints",
    )
    other = first_difference(model.state_dict(), subject.build().state_dict())
    demand(
        other is None,
        f"two models built from one seed differ in {other!r}; draw initial weights with torch only",
    )
    _build_on_meta(subject, model)


def _build_on_meta(subject: Candidate, model: torch.nn.Module) -> None:
    """Loading builds a skeleton first, to hold its shapes against a file's."""
    factory = subject.spec.load_factory()
    try:
        with torch.device("meta"):
            skeleton = factory(subject.config, replace(subject.data))
    except Exception as error:
        raise ConformanceError(
            f"the model cannot be built on the meta device ({error}), as loading does; read no "
            "values of tensors (.item(), .tolist(), numpy) in __init__"
        ) from error
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    demand(
        {k: v.shape for k, v in skeleton.state_dict().items()} == shapes,
        "the model built on the meta device has other weights; let shapes follow from config "
        "and data alone",
    )
