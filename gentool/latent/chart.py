"""The plane of a model of two latents, as a picture (Kingma & Welling 2014, figure 4)."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from gentool.console import Progress
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.latent.evidence import latents_of
from gentool.latent.locate import load_like
from gentool.latent.prior import measure
from gentool.latent.reconstruct import decode
from gentool.model import Encodes, Model
from gentool.render.grid import to_pixels
from gentool.render.plane import box_lattice, draw_map, normal_lattice

SIDE = 20


def chart(
    model: Model, source: str | None, own: DataOptions | None, n: int, progress: Progress
) -> Figure:
    """Encoded test data by label, beside SIDE × SIDE latents decoded: at equal quantiles of a
    Gaussian prior, evenly over a uniform one's box.

    Raises:
        UserError: for a model without an encoder, or of other than two latents.
    """
    size = math.prod(model.latent_shape)
    if not isinstance(model, Encodes) or size != 2:
        lack = "has no encoder" if not isinstance(model, Encodes) else f"has {size} latents"
        raise UserError(
            f"--map draws the plane of a model that encodes into 2 latents, and this one {lack}; "
            "train one with --latent-dim 2"
        )
    dataset = load_like(model.data, source, own, progress)
    split = dataset.test if len(dataset.test) else dataset.train
    z, rows = latents_of(model, split, n, progress)
    labels = None if split.labels is None else np.asarray(split.labels[rows.numpy()])
    prior = measure(model)
    uniform = prior.kind == "uniform"
    lattice = box_lattice(SIDE, prior.low, prior.high) if uniform else normal_lattice(SIDE)
    classes = torch.zeros(len(lattice), dtype=torch.int64) if model.classes else None
    x = decode(model, torch.from_numpy(lattice).view(-1, *model.latent_shape), classes).numpy()
    return draw_map(
        z.numpy(), labels, dataset.spec.classes, to_pixels(x) if x.ndim == 4 else x, lattice
    )
