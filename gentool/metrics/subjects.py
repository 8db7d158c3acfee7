"""What is judged, and by which data: from a run or a file to a model, its data and its facts."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gentool import data, runs
from gentool.console import Progress
from gentool.data.attributes import converted
from gentool.data.dataset import Dataset, Split
from gentool.data.options import DataOptions
from gentool.data.sources import points
from gentool.devices import pick_device
from gentool.errors import UserError, printable
from gentool.loading import LoadedModel, load
from gentool.matmul import choose_matmul
from gentool.mixture import components, with_mixture
from gentool.model import Encodes, Evaluates, HasLikelihood
from gentool.runs import Run
from gentool.spec import DataSpec


@dataclass(frozen=True)
class Subject:
    """A model to be judged.

    Attributes:
        name: of the run or file, for tables.
        loaded: the model, in eval mode, on the device.
        file: its model.safetensors.
        run: where the record goes; None for a lone file.
        prior: of its latents, where that is not the model's own.
    """

    name: str
    loaded: LoadedModel
    file: Path
    run: Run | None
    prior: str | None = None


OF_THE_MODEL = frozenset({"likelihood", "reconstruct", "scalars"})
"""What metrics need that look at more than samples; another prior does not change them."""


def under(subject: Subject, prior: str, dataset: Dataset) -> Subject:
    """The same model with latents drawn from a mixture fitted to the codes of training data."""
    k = components(prior)
    loaded = with_mixture(subject.loaded, subject.file, subject.run, k, lambda: dataset.train)
    return dataclasses.replace(
        subject, name=f"{subject.name} {prior}", loaded=loaded, prior=f"mixture:{k}"
    )


def find_subject(source: str | os.PathLike[str] | None, device: str) -> Subject:
    """Load a run (None: the latest) or a model file; raises UserError."""
    found = runs.locate(source)
    return Subject(found.name, load(found.file, _device(device)), found.file, found.run)


def told_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """The same, where several have one name with as many folders before it as it takes."""
    names = [subject.name for subject in subjects]
    folders = [s.file.resolve().parents if s.run is None else _above(s.run) for s in subjects]
    for depth in range(max((len(f) for f in folders), default=0)):
        taken = Counter(names)
        if max(taken.values(), default=1) == 1:
            break
        names = [
            f"{folders[i][depth].name}/{name}"
            if taken[name] > 1 and depth < len(folders[i])
            else name
            for i, name in enumerate(names)
        ]
    return [replace(s, name=name) for s, name in zip(subjects, names, strict=True)]


def _above(run: Run) -> Sequence[Path]:
    return run.path.resolve().parents


def _device(name: str) -> torch.device:
    device = pick_device(name)
    choose_matmul(device)
    return device


def find_data(
    subject: Subject, source: str | None, cache: str | None, progress: Progress
) -> tuple[DataOptions, Dataset, list[str]]:
    """The data to judge by: what the run was trained on, unless `source` names other data.

    Returns:
        the options, the data, and sentences about what a reader should know.

    Raises:
        UserError: where there is no way to tell, or the data has another shape than the model's.
    """
    notes: list[str] = []
    spec = subject.loaded.header.data
    if source is None:
        if subject.run is None:
            raise UserError(
                f"{printable(str(subject.file))} is a lone file, which does not know its data; "
                "name the data with --data"
            )
        saved = subject.run.read_config()
        where = f"in {printable(str(subject.run.config))}"
        asked = DataOptions.of_run(saved.get("data_options", {}), cache, where)
        dataset = data.load(asked, progress=progress)
        if dataset.fingerprint != saved.get("fingerprint"):
            notes.append(
                f"the data {asked.data} has changed since {subject.name} was trained on it"
            )
    else:
        asked = DataOptions(data=source, cache=cache)
        dataset = data.load(asked, progress=progress)
        if spec.kind == "image" and dataset.spec.kind == "image" and dataset.spec != spec:
            asked = _as_the_model_saw(asked, spec)
            dataset = data.load(asked, progress=progress)
    if (dataset.spec.kind, dataset.spec.shape) != (spec.kind, spec.shape):
        raise UserError(
            f"{printable(asked.data)} holds {dataset.spec.kind} of shape {dataset.spec.shape}, but "
            f"{printable(subject.name)} was trained on {spec.kind} of shape {spec.shape}; "
            "name fitting data with --data"
        )
    if subject.loaded.model.condition:
        dataset = _in_the_models_terms(dataset, spec)
    if not len(dataset.test):
        raise UserError(
            f"{printable(asked.data)} has no test split, and every number here needs one; "
            "name data that has one with --data"
        )
    return asked, dataset, notes


def _in_the_models_terms(dataset: Dataset, spec: DataSpec) -> Dataset:
    """The data with the attributes in the order and the scale that the model was trained with.

    As it is where one of them lacks.
    """
    found: dict[str, Split] = {}
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        if split.attributes is None:
            return dataset
        values = converted(split.attributes, dataset.spec.attributes, spec.attributes)
        if values is None:
            return dataset
        found[name] = dataclasses.replace(split, attributes=values)
    known = dataclasses.replace(dataset.spec, attributes=spec.attributes)
    return dataclasses.replace(dataset, spec=known, train=found["train"], test=found["test"])


def _as_the_model_saw(asked: DataOptions, spec: DataSpec) -> DataOptions:
    channels, height, width = spec.shape
    kind: Any = {1: "grey", 3: "rgb"}.get(channels, "auto")
    return dataclasses.replace(asked, size=f"{height}x{width}", channels=kind)


def facts_of(subject: Subject, dataset: Dataset, source: str) -> frozenset[str]:
    """Which of `gentool.metrics.registry.NEEDS` hold.

    Args:
        source: what ``--data`` said, without a count.
    """
    model, can = subject.loaded.model, subject.loaded.spec.capabilities
    classes = getattr(model, "classes", 0)
    fits = not classes or len(dataset.spec.classes) == classes
    condition = set(getattr(model, "condition", ()))
    fits = fits and condition <= set(dataset.spec.attributes)
    images = dataset.spec.kind == "image"
    labelled = dataset.train.labels is not None and len(dataset.spec.classes) > 1
    has_density = getattr(model, "support", "") is not None
    found = {
        "likelihood": isinstance(model, HasLikelihood)
        and "likelihood" in can
        and has_density
        and fits,
        "reconstruct": isinstance(model, Encodes) and "reconstruct" in can and fits,
        "scalars": isinstance(model, Evaluates) and fits,
        "images": images,
        "labels": images and labelled,
        "mixture": not images and _is_mixture(source),
    }
    return frozenset(name for name, holds in found.items() if holds)


def source_of(asked: DataOptions) -> str:
    """``--data`` without a count: "ring" of "ring:5000"."""
    return asked.data.partition(":")[0]


def _is_mixture(name: str) -> bool:
    try:
        points.modes(name)
    except UserError:
        return False
    return True
