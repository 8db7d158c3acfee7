"""From a run or a file to a model that samples: ``gentool.load(path).sample(64)``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gentool import options, plugins, runs, weights
from gentool.devices import pick_device
from gentool.errors import UserError, printable
from gentool.model import Model
from gentool.render.notebook import Samples
from gentool.sampling import draw_samples, stream
from gentool.spec import ModelSpec


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to sample, in eval mode.

    Attributes:
        model: the plugin's `gentool.model.Model`.
        header: what its file says of it: name, config, data spec.
    """

    model: Model
    header: weights.Header
    spec: ModelSpec
    config: Any

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Tensor | None = None,
        z: Tensor | None = None,
        draw: bool = False,
    ) -> Tensor:
        """Draw `n` examples; see `gentool.sampling.draw_samples` for every argument.

        Returns:
            float32 on the CPU: images (n, C, H, W) in [0, 1], or points (n, D); a tensor that
            a notebook shows as a picture.
        """
        x = draw_samples(self.model, n, self.device, seed=seed, labels=labels, z=z, draw=draw)
        return x.as_subclass(Samples)

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Tensor | None = None,
        z: Tensor | None = None,
        draw: bool = False,
    ) -> Iterator[Tensor]:
        """As `sample`, some examples at a time: for more than memory holds."""
        given: Any = {"seed": seed, "labels": labels, "z": z, "draw": draw}
        return stream(self.model, n, self.device, **given, size=self.header.data.size)


def load(
    path: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> LoadedModel:
    """Load a trained model from a run directory or a ``model.safetensors``.

    Args:
        path: a run, a file, a checkpoint ``RUN/state/step-…``, or None for the latest run below
            the working directory.

    Raises:
        UserError: where the file is missing, damaged, not gentool's, or its plugin is not here.
    """
    found = runs.locate(path)
    file, place = found.file, pick_device(str(device))
    header = weights.read_header(found.described or file)
    plugin = find_plugin(header, file)
    spec = plugins.spec_of(plugin)
    config = options.build(spec.config, header.config, f"in {printable(str(file))}")
    expected = build_skeleton(spec, config, header, file)
    tensors = weights.read_tensors(file)
    check_tensors(tensors, expected, file)
    model = materialise(spec, config, header, expected, tensors)
    return LoadedModel(model.to(place).eval(), header, spec, config)


def find_plugin(header: weights.Header, file: Path) -> plugins.Plugin:
    """The installed plugin that a file was written by, by its full name first."""
    installed = plugins.installed()
    for plugin in installed:
        if (plugin.distribution, plugin.name) == (header.distribution, header.model):
            return plugin
    raise UserError(
        f"{printable(str(file))} holds a model {printable(header.model)!r} of the package "
        f"{printable(header.distribution)!r}, which is not installed; install that package"
    )


def build_skeleton(spec: ModelSpec, config: Any, header: weights.Header, file: Path) -> Model:
    """The model without memory for its weights, its shapes held against the file's.

    A header that asks for a layer of 10¹² units is refused here, before anything is allocated.
    """
    try:
        with torch.device("meta"):
            model = spec.load_factory()(config, header.data)
    except (RuntimeError, ValueError, OverflowError, TypeError) as error:
        raise UserError(
            f"the config in {printable(str(file))} describes no model that can be built "
            f"({printable(str(error), 120)})"
        ) from error
    assert isinstance(model, Model)
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    if wanted != header.shapes:
        wrong = sorted(set(wanted.items()) ^ set(header.shapes.items()))[0][0]
        raise UserError(
            f"the weights in {printable(str(file))} do not fit its config: {printable(wrong)!r} is "
            f"{header.shapes.get(wrong, 'missing')}, the model has {wanted.get(wrong, 'none')}"
        )
    return model


def check_tensors(tensors: dict[str, Tensor], expected: Model, file: Path) -> None:
    """Refuse weights of another shape or type, and weights that are not numbers."""
    weights.check_tensors(tensors, expected.state_dict(), printable(str(file)))


def materialise(
    spec: ModelSpec,
    config: Any,
    header: weights.Header,
    skeleton: Model,
    tensors: dict[str, Tensor],
) -> Model:
    """Give the skeleton its weights; a model with unsaved buffers is built a second time."""
    skeleton.load_state_dict(tensors, assign=True)
    if not any(t.is_meta for t in [*skeleton.parameters(), *skeleton.buffers()]):
        return skeleton
    model: Model = spec.load_factory()(config, header.data)
    model.load_state_dict(tensors)
    return model
