"""Finding directions of one model: which data, which way, and what to write beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gentool.console import Progress
from gentool.data.dataset import Dataset
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable
from gentool.latent.directions import Direction, Directions, first_layer, principal, supervised
from gentool.latent.evidence import MOST, gather, latents_of
from gentool.latent.locate import load_like
from gentool.latent.prior import device_of, draw
from gentool.metrics.features import weights_hash
from gentool.model import Encodes, Model

WAYS = ("labels", "pca")
ACTIVATIONS = 2_000
"""Draws whose first layer is analysed: their Gram matrix is at most so wide."""


def find_directions(
    model: Model,
    source: str | None,
    own: DataOptions | None,
    names: Sequence[str] | None = None,
    *,
    by: str = "labels",
    n: int = MOST,
    progress: Progress = lambda what, done, total: None,
) -> tuple[Directions, list[str]]:
    """Find directions; see `gentool.latent.directions` for what they are.

    Args:
        source: the data, by name or path; None for the run's own.
        own: how the run read its data; None for a lone file.
        names: attributes or classes; None for all.
        by: "labels", or "pca".

    Returns:
        the directions, and sentences about what was left out.
    """
    if by not in WAYS:
        raise UserError(f"directions are found by {' or '.join(WAYS)}, not by {printable(by)!r}")
    if n < 20:
        raise UserError(f"{n} latents are too few to find directions; take at least 20")
    encodes, dataset = isinstance(model, Encodes), None
    if by == "labels" or encodes:
        dataset = load_like(model.data, source, own, progress)
    found: list[Direction]
    notes: list[str] = []
    if by == "labels":
        assert dataset is not None
        cache = (own or DataOptions()).cache_folder()
        evidence = gather(model, dataset, names, cache, n=n, progress=progress)
        found, notes = supervised(evidence)
    elif encodes:
        assert dataset is not None
        found = principal(latents_of(model, dataset.train, n, progress)[0])
    else:
        z = draw(model, min(n, ACTIVATIONS))
        labels = torch.arange(len(z), device=device_of(model)) % max(1, model.classes)
        found = first_layer(model, z, labels if model.classes else None)
    return Directions({one.name: one for one in found}, _origin(model, dataset, by, n)), notes


def _origin(model: Model, dataset: Dataset | None, by: str, n: int) -> dict[str, Any]:
    """What they depend on; no time, host or path, so that equal directions are equal bytes."""
    return {
        "by": by,
        "n": n,
        "latents": "encoded" if dataset is not None and isinstance(model, Encodes) else "sampled",
        "data": None if dataset is None else dataset.name,
        "fingerprint": None if dataset is None else dataset.fingerprint,
        "weights": weights_hash(model),
    }
