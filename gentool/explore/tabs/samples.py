"""Samples: grids by seed and class, and the training images nearest to the one clicked."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from gentool.data.known import points_of
from gentool.errors import UserError
from gentool.explore import commands
from gentool.explore.places import MOST_SEED
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab, has_model
from gentool.explore.wire import Answer, Ask, File
from gentool.metrics.knn import nearest
from gentool.render.grid import to_pixels
from gentool.render.samples import grid_png
from gentool.render.scatter import draw_scatter, print_png
from gentool.sampling import Layout, arrange

MOST = 400
MOST_POINTS = 10_000
SEARCHED = 20_000
"""Training examples that are searched for the nearest."""

NEAREST = 8


def grid(subject: Subject, ask: Ask) -> Answer:
    """The picture that `gentool sample` writes."""
    x, layout, seed = _drawn(subject, ask)
    word = _class(ask)
    words = ["--n", str(layout.n), "--seed", str(seed)]
    words += ["--class", word] if word is not None else []
    line = commands.line("sample", subject.word, *words, "--out", "samples.png")
    cells = layout.cells or list(range(layout.n))
    facts = {"n": layout.n, "columns": layout.columns or 0, "cells": cells}
    return Answer(facts, (File(_png(subject, x, layout), name="samples.png"),), line)


def _class(ask: Ask) -> str | None:
    return ask.text("class") if "class" in ask else None


def _drawn(subject: Subject, ask: Ask) -> tuple[Tensor, Layout, int]:
    loaded = subject.model
    images = loaded.header.data.kind == "image"
    n = ask.whole("n", 1, MOST if images else MOST_POINTS, 64 if images else 2500)
    seed = ask.whole("seed", 0, MOST_SEED, 0)
    layout = arrange(loaded.model, _class(ask), n, name=loaded.header.model)
    x = torch.cat(list(loaded.stream(layout.n, seed=seed, labels=layout.labels)))
    return x, layout, seed


def _png(subject: Subject, x: Tensor, layout: Layout) -> bytes:
    if x.dim() == 4:
        return grid_png(x.numpy(), layout.columns, layout.cells)
    file = io.BytesIO()
    run, spec = subject.run, subject.model.header.data
    real = None if run is None else points_of(run, spec)
    print_png(draw_scatter(x[:, :2].numpy(), real=real), file)
    return file.getvalue()


def neighbours(subject: Subject, ask: Ask) -> Answer:
    """The training examples nearest to one of the samples, by squared error a value."""
    x, layout, seed = _drawn(subject, ask)
    index = ask.whole("index", 0, layout.n - 1)
    if x.dim() != 4:
        raise UserError("nearest training examples are shown for images")
    train = subject.dataset.train.x
    count = min(len(train), SEARCHED)
    rows = torch.arange(count) * len(train) // count
    data = torch.from_numpy(np.array(train[rows.numpy()])).flatten(1).float() / 255
    subject.pause()
    distances, found = nearest(x[index].flatten()[None], data, min(NEAREST, count))
    at = rows[found[0]]
    errors = distances[0].square() / data.shape[1]
    pictures = [to_pixels(x[index : index + 1].numpy())[0], *np.array(train[at.numpy()])]
    facts = {
        "index": index,
        "seed": seed,
        "examples": [f"train:{i}" for i in at.tolist()],
        "errors": errors.tolist(),
        "searched": count,
        "of": len(train),
    }
    return Answer(facts, pictures)


TAB = Tab("samples", has_model, {"grid": grid}, {"neighbours": neighbours})
