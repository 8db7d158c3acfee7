"""From points as they are written to latents: draw, read, encode or invert."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gentool import data
from gentool.console import Progress
from gentool.data.dataset import Dataset
from gentool.data.decoding import decode
from gentool.data.options import Channels, DataOptions, Fit
from gentool.data.sources.npyfile import open_arrays
from gentool.errors import UserError, nearest, printable
from gentool.latent.invert import Descent
from gentool.latent.points import (
    Example,
    Latents,
    Literal,
    Picture,
    Point,
    Seed,
    parse_all,
    title,
)
from gentool.latent.prior import draw
from gentool.latent.reconstruct import Method, Reconstruction, reconstruct
from gentool.model import Model
from gentool.spec import DataSpec

MOST_VALUES = 2**27
"""Numbers in a file of latents."""

CHANNELS: dict[int, Channels] = {1: "grey", 3: "rgb"}


@dataclass(frozen=True)
class Located:
    """Points and where they are; all on the CPU.

    Attributes:
        z: float32 (N, *latent_shape).
        labels: int64 (N,) of a class-conditional model; else None.
        titles: a few characters a point.
        reconstruction: of the points that are examples, in their order; None where none is.
        rows: int64, which points these are.
    """

    z: Tensor
    labels: Tensor | None
    titles: tuple[str, ...]
    reconstruction: Reconstruction | None = None
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.z)


@dataclass
class Locator:
    """Where points lie in a model's latent space.

    Attributes:
        model: in eval mode.
        options: how the run read its data; None for a model that is a lone file.
        label: the class of every example and seed, by number or name; None takes the data's own,
            else searches it.
        fit: how an image of another size is brought to the model's; None does as the run's data
            options say, and refuses where these say nothing.
        method, descent, weights: see `gentool.latent.reconstruct.reconstruct`.
        progress: called during long work.
    """

    model: Model
    options: DataOptions | None = None
    label: str | None = None
    fit: Fit | None = None
    method: Method = "auto"
    descent: Descent | None = None
    weights: int = 0
    progress: Progress = lambda what, done, total: None
    _sets: dict[str | None, Dataset] = field(default_factory=dict)

    def locate(self, texts: Sequence[str]) -> Located:
        """The latents of points as people write them; raises UserError."""
        return self.find(parse_all(texts))

    def find(self, points: Sequence[Point]) -> Located:
        """The latents of points: what is drawn or read at once, and all examples in one go."""
        latents: list[Tensor] = []
        labels: list[int] = []
        titles: list[str] = []
        examples: list[tuple[int, Tensor, int | None]] = []  # place, x, label
        for point in points:
            if isinstance(point, Latents):
                z, known = self.read(point)
                latents += list(z)
                labels += known
                titles += [f"{title(point)} {i}" for i in point.rows or range(len(z))]
                continue
            titles.append(title(point))
            if isinstance(point, Seed):
                latents.append(draw(self.model, 1, point.number)[0].cpu())
                labels.append(self.class_of(point))
            elif isinstance(point, Literal):
                latents.append(read_literal(f"z:{point.text}", self.model)[0])
                labels.append(0 if self.label is None else class_number(self.model, self.label))
            else:
                x, label = self.example(point)
                examples.append((len(latents), x, label))
                latents.append(torch.empty(self.model.latent_shape))
                labels.append(0)
        z, chosen = torch.stack(latents), torch.tensor(labels)
        found, rows = None, torch.tensor([place for place, _, _ in examples], dtype=torch.int64)
        if examples:
            found = self.reconstruct([x for _, x, _ in examples], [k for _, _, k in examples])
            z[rows] = found.z
            if found.labels is not None:
                chosen[rows] = found.labels
        return Located(z, chosen if self.model.classes else None, tuple(titles), found, rows)

    def reconstruct(self, examples: list[Tensor], labels: list[int | None]) -> Reconstruction:
        """The latents of examples; one with an unknown class leaves all of them to a search."""
        known = None
        if self.model.classes and None not in labels:
            known = torch.tensor([k for k in labels if k is not None])
        return reconstruct(
            self.model,
            torch.stack(examples),
            labels=known,
            method=self.method,
            descent=self.descent,
            weights=self.weights,
            progress=self.progress,
        )

    def class_of(self, point: Seed) -> int:
        """The class of a seed: the one named, else the one that follows from its number."""
        wanted = point.label if point.label is not None else self.label
        if wanted is not None:
            return class_number(self.model, wanted)
        return point.number % self.model.classes if self.model.classes else 0

    def example(self, point: Picture | Example) -> tuple[Tensor, int | None]:
        """An example as the model sees it, and its class where that is known."""
        label = None if self.label is None else class_number(self.model, self.label)
        if isinstance(point, Picture):
            return self.picture(point.path), label
        found = self.dataset(point.source)
        split = found.test if point.split == "test" else found.train
        if point.index >= len(split):
            raise UserError(
                f"{printable(found.name)} has {len(split):,} {point.split} examples, counted from "
                f"0; there is no {point.split}:{point.index}"
            )
        x = torch.from_numpy(np.array(split.x[point.index]))
        fits = split.labels is not None and len(found.spec.classes) == self.model.classes
        if label is None and self.model.classes and fits:
            assert split.labels is not None
            label = int(split.labels[point.index])
        return torch.true_divide(x, 255) if x.dtype == torch.uint8 else x, label

    def picture(self, path: Path) -> Tensor:
        """An image file as float32 (C, H, W) in [0, 1] of the model's size; raises UserError."""
        spec, shown = self.model.data, printable(str(path))
        if spec.kind != "image":
            raise UserError(
                f"the model makes points of {spec.size} numbers, and {shown} is taken for an "
                "image; give test:12, seed:7, or latents in a .npz"
            )
        if not path.is_file() or path.stat().st_size > decode.MAX_FILE_BYTES:
            raise UserError(f"{shown} is no image file of at most 128 MB")
        channels, height, width = spec.shape
        fit = self.fit
        if fit is None and self.options is not None and self.options.size is not None:
            fit = self.options.fit
        target = decode.Target((height, width), 3 if channels == 3 else 1, fit)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, about what it can read all the same
                pixels = decode.decode(path.read_bytes(), target).pixels
        except decode.OtherSizeError as error:
            h, w = error.size
            raise UserError(
                f"{shown} is {h}x{w} pixels (height x width), and the model makes {height}x"
                f"{width}; say how to bring it there with --fit crop, pad or stretch"
            ) from error
        except decode.BadImageError as error:
            raise UserError(f"{shown} {error}; give an image that can be read") from error
        except OSError as error:
            raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
        return torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255

    def dataset(self, source: str | None) -> Dataset:
        """The data of a source by name or path, read as the model needs it; None: the run's."""
        if source not in self._sets:
            self._sets[source] = load_like(self.model.data, source, self.options, self.progress)
        return self._sets[source]

    def read(self, point: Latents) -> tuple[Tensor, list[int]]:
        """Rows of a file of latents, and the classes that lie beside them or are asked for."""
        z, known = read_latents(point.path, self.model)
        rows = list(point.rows) if point.rows is not None else list(range(len(z)))
        if rows[-1] >= len(z):
            raise UserError(
                f"{printable(str(point.path))} holds {len(z)} latents, counted from 0; there is no "
                f"row {rows[-1]}"
            )
        if self.label is not None:
            return z[rows], [class_number(self.model, self.label)] * len(rows)
        return z[rows], [0] * len(rows) if known is None else known[rows].tolist()


def load_like(
    spec: DataSpec, source: str | None, own: DataOptions | None, progress: Progress
) -> Dataset:
    """A data source in the shape of a model's examples; raises UserError where it has another.

    Args:
        source: a name or a path; None for the data of `own`.
        own: how the run read its data; None for a lone file.
    """
    if source is None and own is None:
        raise UserError(
            "a lone model file does not know its data; name the source, as in mnist:test:12, or "
            "with --data"
        )
    if own is not None and source in (None, own.data):
        asked = own
    else:
        assert source is not None
        asked = DataOptions(data=source, cache=None if own is None else own.cache)
    found = data.load(asked, progress=progress)
    images = spec.kind == "image" and found.spec.kind == "image"
    if asked is not own and images and found.spec.shape != spec.shape:
        channels, height, width = spec.shape
        asked = dataclasses.replace(
            asked, size=f"{height}x{width}", channels=CHANNELS.get(channels, "auto")
        )
        found = data.load(asked, progress=progress)
    if (found.spec.kind, found.spec.shape) != (spec.kind, spec.shape):
        raise UserError(
            f"{printable(asked.data)} holds {found.spec.kind} of shape {found.spec.shape}, but the "
            f"model was trained on {spec.kind} of shape {spec.shape}"
        )
    return found


def class_number(model: Model, wanted: str) -> int:
    """The number of a class by its number or name; raises UserError."""
    names = model.data.classes
    if not model.classes:
        raise UserError(
            "this model is not class-conditional, so it has no classes; train one with "
            "--conditional"
        )
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) < model.classes:
        return int(wanted[:9])
    raise UserError(
        f"the class {printable(wanted)!r} is none of {', '.join(map(printable, names[:20]))}"
        f"{nearest(wanted, names)}"
    )


def read_latents(path: Path, model: Model) -> tuple[Tensor, Tensor | None]:
    """Latents from a .npy, or an .npz with ``z`` and perhaps ``labels``; raises UserError.

    Returns:
        float32 (N, *latent_shape), and int64 (N,) or None.
    """
    shown = printable(str(path))
    try:
        found = open_arrays(path)
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    file = found.get("z", found.get("x") if path.suffix.lower() == ".npy" else None)
    if file is None:
        raise UserError(f"{shown} holds no 'z'; latents are a .npy, or an .npz with 'z'")
    shape = tuple(model.latent_shape)
    if file.shape[1:] != shape or not file.shape[:1] > (0,) or file.dtype.kind not in "fiu":
        wanted = ", ".join(["N", *map(str, shape)])
        raise UserError(
            f"{shown} holds {file.dtype} {file.shape}, but the model takes latents ({wanted})"
        )
    if math.prod(file.shape) > MOST_VALUES:
        raise UserError(f"{shown} holds {file.shape} latents; {MOST_VALUES:,} numbers are the most")
    z, at = np.empty(file.shape, np.float32), 0
    with np.errstate(over="ignore"):  # what is too large for float32 is told below
        for rows in file.chunks():
            z[at : at + len(rows)] = rows
            at += len(rows)
    if not np.isfinite(z).all():
        raise UserError(f"{shown} holds NaN or infinity; latents are finite numbers")
    beside = found.get("labels")
    if beside is None or not model.classes:
        return torch.from_numpy(z), None
    if beside.shape != (len(z),) or beside.dtype.kind not in "iu":
        raise UserError(f"{shown}: its labels are not {len(z)} whole numbers, one a latent")
    labels = np.concatenate(list(beside.chunks())).astype(np.int64)
    if not 0 <= labels.min() <= labels.max() < model.classes:
        raise UserError(f"{shown}: its labels are not from 0 to {model.classes - 1}")
    return torch.from_numpy(z), torch.from_numpy(labels)


def read_literal(text: str, model: Model) -> Tensor:
    """One latent that is written out, ``z:0.5,-1.25``; raises UserError.

    Returns:
        float32 (1, *latent_shape).
    """
    shown, wanted = printable(text, 60), math.prod(model.latent_shape)
    words = text.removeprefix("z:").split(",")
    if len(words) != wanted:
        raise UserError(f"{shown!r} has {len(words)} numbers, and the model's latents {wanted}")
    try:
        z = np.array([np.float32(word) for word in words])
    except ValueError:
        raise UserError(f"{shown!r} is no latent; write numbers, as in z:0.5,-1.25") from None
    if not np.isfinite(z).all():
        raise UserError(f"{shown!r} holds a number that is not finite, or too large")
    return torch.from_numpy(z).view(1, *model.latent_shape)
