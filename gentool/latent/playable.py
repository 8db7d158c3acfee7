"""A loaded model that can be played with: what `gentool.load` returns.

>>> model = gentool.load("runs/vae-mnist-001")
>>> found = model.reconstruct(images)              # .z, .again, .error
>>> film = model.interpolate("seed:1", "test:12", n=30)
>>> model.directions(data="faces")["smile"].facts
>>> grid = model.edit("test:3", along="smile=-3:3:7", keep=["male"])
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gentool import loading, options, runs
from gentool.data.options import DataOptions, Fit
from gentool.errors import UserError
from gentool.loading import LoadedModel
from gentool.runs import Source

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gentool.console import Progress
    from gentool.latent.directions import Directions
    from gentool.latent.invert import Descent, Inverted
    from gentool.latent.locate import Locator
    from gentool.latent.paths import Kind
    from gentool.latent.reconstruct import Method, Reconstruction

    Where = str | Sequence[str] | Tensor
    """Points as they are written (see `gentool.latent.points`), or latents (N, *latent_shape)."""


def _silent(what: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class PlayableModel(LoadedModel):
    """A trained model, ready to sample and to be played with.

    Wherever latents are wanted, points can be written as on the command line: ``"seed:7"``,
    ``"face.png"``, ``"mnist:test:12"``, ``"class:3"``, ``"z.npz"``. What comes back is on the CPU.

    Attributes:
        source: the model file, and the run it belongs to.
    """

    source: Source = Source(Path(), None)  # noqa: RUF009  (frozen)

    @property
    def data_options(self) -> DataOptions | None:
        """How the run read its data; None for a lone file."""
        if self.source.run is None:
            return None
        saved = self.source.run.read_config().get("data_options", {})
        found: DataOptions = options.build(DataOptions, saved, f"in {self.source.run.config}")
        return found

    def locator(
        self,
        *,
        label: str | None = None,
        fit: Fit | None = None,
        method: Method = "auto",
        descent: Descent | None = None,
        weights: int = 0,
        progress: Progress = _silent,
    ) -> Locator:
        """What finds points in this model's latent space; see `gentool.latent.locate`."""
        from gentool.latent.locate import Locator

        own = self.data_options
        return Locator(self.model, own, label, fit, method, descent, weights, progress)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The encoder's latents of x: (N, *latent_shape).

        Args:
            x: images (N, C, H, W) in [0, 1], or points (N, D).
            labels: int64 (N,) for a class-conditional model; None searches the class.

        Raises:
            UserError: where the model has no encoder; `invert` serves every model.
        """
        from gentool.latent.reconstruct import check_shape, encode
        from gentool.model import Encodes

        check_shape(self.model, x)
        if not isinstance(self.model, Encodes):
            raise UserError(f"{self.header.model} has no encoder; use invert() instead")
        return encode(self.model, x, labels)[0]

    def invert(
        self,
        x: Tensor,
        *,
        labels: Tensor | None = None,
        start: Tensor | None = None,
        progress: Progress = _silent,
        **descent: Any,
    ) -> Inverted:
        """The latents whose samples are nearest to x, by optimisation.

        Args:
            x, labels: as for `encode`.
            start: latents to begin at, (N, *latent_shape).
            descent: fields of `gentool.latent.invert.Descent`: ``steps``, ``restarts``, ``lr``, …
        """
        from gentool.latent.invert import Descent, invert, squared_error
        from gentool.latent.reconstruct import check_shape

        check_shape(self.model, x)
        distance, plan = squared_error(x.to(self.device)), Descent(**descent)
        return invert(
            self.model, distance, len(x), plan, start=start, labels=labels, progress=progress
        )

    def reconstruct(
        self,
        x: Where,
        *,
        labels: Tensor | None = None,
        method: Method = "auto",
        weights: int = 0,
        progress: Progress = _silent,
        **descent: Any,
    ) -> Reconstruction:
        """x → z → x̂ with the error of each example; see `gentool.latent.reconstruct`.

        Args:
            x: images (N, C, H, W) in [0, 1], points (N, D), or points as they are written that
                are examples: ``"test:0-31"``, ``"face.png"``.
            method: "encoder", "optimise", or "auto": the encoder where there is one.
            weights: latents an example for the log-likelihood; 0 leaves it out.
            descent: fields of `gentool.latent.invert.Descent`.
        """
        import torch

        from gentool.latent.invert import Descent
        from gentool.latent.reconstruct import reconstruct

        plan = Descent(**descent) if descent else None
        if not isinstance(x, torch.Tensor):
            locator = self.locator(method=method, descent=plan, weights=weights, progress=progress)
            found = locator.locate([x] if isinstance(x, str) else list(x)).reconstruction
            if found is None:
                raise UserError("seeds and latents have no original; give images or data")
            return found
        return reconstruct(
            self.model,
            x,
            labels=labels,
            method=method,
            descent=plan,
            weights=weights,
            progress=progress,
        )

    def latents(self, where: Where, label: str | None = None) -> tuple[Tensor, Tensor | None]:
        """Points as latents (N, *latent_shape), and the labels of a class-conditional model."""
        import torch

        from gentool.latent.locate import class_number

        if not isinstance(where, torch.Tensor):
            found = self.locator(label=label).locate([where] if isinstance(where, str) else where)
            return found.z, found.labels
        z = where if where.dim() > len(self.model.latent_shape) else where[None]
        if tuple(z.shape[1:]) != tuple(self.model.latent_shape):
            raise UserError(
                f"the model's latents have the shape {tuple(self.model.latent_shape)}, and these "
                f"{tuple(z.shape[1:])}"
            )
        if not self.model.classes:
            return z, None
        number = 0 if label is None else class_number(self.model, label)
        return z, torch.full((len(z),), number)

    def interpolate(
        self,
        *where: Where,
        n: int = 10,
        path: Kind = "auto",
        loop: bool = False,
        label: str | None = None,
    ) -> Tensor:
        """Samples along a walk through two or more points, n from one to the next, both counted.

        Args:
            path: "slerp", "linear", or "auto": by the prior.
            loop: end where it began, without the first sample again.
            label: the class, for a class-conditional model.

        Returns:
            images (M, C, H, W) in [0, 1], or points (M, D).
        """
        import torch

        from gentool.latent.paths import kind_for, walk
        from gentool.latent.prior import measure
        from gentool.latent.reconstruct import decode

        parts = [self.latents(one, label) for one in where]
        z = torch.cat([p[0] for p in parts])
        if len(z) < 2 or n < 2:
            raise UserError("a walk needs two points, and two steps or more from one to the next")
        kind = kind_for(measure(self.model)) if path == "auto" else path
        positions, nearest = walk(z, n, kind, loop=loop)
        known = [p[1] for p in parts if p[1] is not None]
        return decode(self.model, positions, torch.cat(known)[nearest] if known else None)

    def directions(
        self,
        names: Sequence[str] | None = None,
        *,
        data: str | None = None,
        by: str = "labels",
        n: int = 10_000,
        progress: Progress = _silent,
    ) -> Directions:
        """Directions of the latent space; see `gentool.latent.directions`.

        Args:
            names: attributes or classes; None for all that the data has.
            data: a source with attributes or classes; None for the run's own.
            by: "labels", or "pca".
            n: latents to learn from.
        """
        from gentool.latent.find import find_directions

        own = self.data_options
        found, _ = find_directions(self.model, data, own, names, by=by, n=n, progress=progress)
        return found

    def kept_directions(self, path: str | Path | None = None) -> Directions:
        """The directions that `gentool directions` kept in the run, or in a file of its own."""
        from gentool.latent import store

        return store.load(self.directions_file if path is None else Path(path), self.model)

    @property
    def directions_file(self) -> Path:
        """Where directions are kept: in the run, or beside a lone file."""
        from gentool.latent.store import NAME

        if self.source.run is not None:
            return self.source.run.path / NAME
        return self.source.file.with_name(f"{self.source.file.stem}-{NAME}")

    def edit(
        self,
        where: Where,
        along: str | Sequence[str] | Mapping[str, Sequence[float]],
        *,
        keep: Sequence[str] = (),
        directions: Directions | None = None,
        label: str | None = None,
    ) -> Tensor:
        """Samples with something turned up and down.

        Args:
            where: N points.
            along: ``"smile=-3:3:7"``, several of these, or ``{"smile": [-3, 0, 3]}``; strengths in
                standard deviations.
            keep: names of directions along which nothing is to change.
            directions: default: those kept in the run.

        Returns:
            (N, S_1, …, *shape): one axis of strengths for each direction.
        """
        from gentool.latent.edit import Along, edit, parse_along
        from gentool.latent.reconstruct import decode

        if isinstance(along, Mapping):
            asked = [Along(name, tuple(map(float, s))) for name, s in along.items()]
        else:
            asked = [parse_along(a) for a in ([along] if isinstance(along, str) else along)]
        z, labels = self.latents(where, label)
        edited = edit(z, asked, directions or self.kept_directions(), keep)
        lead = edited.shape[: edited.dim() - z.dim() + 1]
        flat = edited.reshape(-1, *z.shape[1:])
        repeated = None
        if labels is not None:
            repeated = labels.repeat_interleave(len(flat) // len(z))
        x = decode(self.model, flat, repeated)
        return x.view(*lead, *x.shape[1:])


def load(
    path: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> PlayableModel:
    """Load a trained model from a run directory or a ``model.safetensors``.

    Args:
        path: a run, a file, or None for the latest run below the working directory.

    Raises:
        UserError: where the file is missing, damaged, not gentool's, or its plugin is not here.
    """
    source = runs.locate(path)
    found = loading.load(source.file, device)
    return PlayableModel(found.model, found.header, found.spec, found.config, source)
