"""Where directions are learned from: encoded data, or a generator's samples that a classifier
trained on the data has looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gentool.console import Progress
from gentool.data.dataset import Dataset, Split
from gentool.errors import UserError, nearest, printable
from gentool.latent.directions import Evidence
from gentool.latent.prior import device_of, draw
from gentool.latent.reconstruct import decode, encode
from gentool.metrics.attributes import attribute_classifier
from gentool.metrics.features import classifier
from gentool.model import Encodes, Model
from gentool.spec import Attribute

MOST = 10_000
HELD = 0.2
"""The share of a generator's samples on which the directions are tested."""


def gather(
    model: Model,
    dataset: Dataset,
    names: Sequence[str] | None,
    cache: Path,
    *,
    n: int = MOST,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Evidence:
    """Latents of a model with what the data's attributes, or else its classes, say of them.

    Args:
        dataset: of the model's shape.
        names: the attributes or classes wanted; None for all.
        cache: the folder of data that can be made again, for the classifier.
        n: latents to learn from.

    Raises:
        UserError: where the data has neither, or not the ones named.
    """
    columns = wanted(dataset, names)
    if isinstance(model, Encodes):
        z, y = _encoded(model, dataset.train, columns, n, progress)
        held = dataset.test if len(dataset.test) else dataset.train
        held_z, held_y = _encoded(model, held, columns, n, progress)
        return Evidence(z, y, held_z, held_y, columns.attributes)
    if model.classes and columns.of_classes:
        raise UserError(
            "a class-conditional generator is told its class, so its latents have no directions "
            "for classes; choose it with class:3, or find directions with --by pca"
        )
    z = draw(model, n, seed).cpu()
    labels = torch.arange(n) % model.classes if model.classes else None
    x = _pixels(model, z, labels, progress)
    y = columns.judged(x, dataset, cache, device_of(model), progress)
    cut = n - max(1, round(HELD * n))
    flat = z.flatten(1)
    return Evidence(flat[:cut], y[:cut], flat[cut:], y[cut:], columns.attributes)


class Columns:
    """The attributes, or the classes one against the rest, that directions are wanted for."""

    def __init__(
        self, attributes: tuple[Attribute, ...], rows: list[int], of_classes: bool
    ) -> None:
        """`rows`: their places among the data's attributes or classes."""
        self.attributes, self.rows, self.of_classes = attributes, rows, of_classes

    def known(self, split: Split, rows: Tensor) -> Tensor:
        """What the data says of its examples: (len(rows), K)."""
        if self.of_classes:
            assert split.labels is not None
            labels = torch.from_numpy(np.array(split.labels[rows.numpy()]))
            return torch.stack([(labels == k).float() for k in self.rows], 1)
        assert split.attributes is not None
        return torch.from_numpy(np.array(split.attributes[rows.numpy()]))[:, self.rows]

    def judged(
        self,
        x: Tensor,
        dataset: Dataset,
        cache: Path,
        device: torch.device,
        progress: Progress,
    ) -> Tensor:
        """What a classifier trained on the data says of samples x, uint8 (N, C, H, W): (N, K)."""
        if dataset.spec.kind != "image":
            raise UserError(
                "directions of a generator of points need a classifier, which gentool has for "
                "images; use --by pca"
            )
        if self.of_classes:
            network, _ = classifier(dataset, cache, device, progress)
            labels = network.labels(x)
            return torch.stack([(labels == k).float() for k in self.rows], 1)
        judge = attribute_classifier(dataset, cache, device, progress)
        return judge.verdicts(x)[:, self.rows]


def wanted(dataset: Dataset, names: Sequence[str] | None) -> Columns:
    """The attributes of the data, or else its classes; those of `names`, where it names any."""
    classes = dataset.spec.classes if dataset.train.labels is not None else ()
    found = dataset.spec.attributes if dataset.train.attributes is not None else ()
    of_classes = not found
    if names is not None and not {one.name for one in found} & set(names):
        of_classes = bool(set(names) & set(classes)) or of_classes
    every = [Attribute(name) for name in classes] if of_classes else list(found)
    if not every or (of_classes and len(every) < 2):
        raise UserError(
            f"{printable(dataset.name)} has neither attributes nor two classes to find directions "
            "for; name data that has with --data, or use --by pca"
        )
    known = [one.name for one in every]
    for name in names or ():
        if name not in known:
            raise UserError(
                f"{printable(dataset.name)} has no attribute or class {printable(name)!r}"
                f"{nearest(name, known)}; known are {', '.join(map(printable, known[:20]))}"
            )
    rows = [k for k, name in enumerate(known) if names is None or name in names]
    return Columns(tuple(every[k] for k in rows), rows, of_classes)


def latents_of(
    model: Model, split: Split, n: int, progress: Progress = lambda what, done, total: None
) -> tuple[Tensor, Tensor]:
    """Encodings of up to n examples spread over a split: z (M, D) flat, and their rows (M,)."""
    count = min(n, len(split))
    rows = torch.arange(count) * len(split) // count
    parts = []
    for start in range(0, count, 500):
        progress("encoding", start, count)
        part = rows[start : start + 500].numpy()
        x = torch.from_numpy(np.array(split.x[part]))
        x = torch.true_divide(x, 255) if x.dtype == torch.uint8 else x
        labels = None
        if model.classes and split.labels is not None:
            labels = torch.from_numpy(np.array(split.labels[part]))
        parts.append(encode(model, x, labels)[0].flatten(1))
    progress("encoding", count, count)
    return torch.cat(parts), rows


def _encoded(
    model: Model, split: Split, columns: Columns, n: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    z, rows = latents_of(model, split, n, progress)
    return z, columns.known(split, rows)


def _pixels(model: Model, z: Tensor, labels: Tensor | None, progress: Progress) -> Tensor:
    """Samples as uint8 (N, C, H, W): as floats many large ones would not fit in memory."""
    parts = []
    for start in range(0, len(z), 500):
        progress("sampling", start, len(z))
        rows = slice(start, start + 500)
        x = decode(model, z[rows], None if labels is None else labels[rows])
        parts.append(x.mul(255).round().byte())
    progress("sampling", len(z), len(z))
    return torch.cat(parts)
