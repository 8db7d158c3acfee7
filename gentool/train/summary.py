"""What a run shows of itself: its curves, a film of its samples, and its card."""

from __future__ import annotations

import warnings
from functools import partial

from gentool.errors import UserError
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.model import Model
from gentool.render.card import card
from gentool.runs import Run, read_config, read_metrics
from gentool.train.thinning import pictures_in

MOST_PICTURE = 2**28
"""Bytes of a sample picture that is read."""


def summarise(run: Run, folder: Folder, model: Model) -> None:
    """Write curves.png, samples.gif and README.md, from what the run has so far.

    Raises UserError where they cannot be written; what cannot be read is left out.
    """
    from gentool.render.collect import collect
    from gentool.render.film import frames_of, save_film

    try:
        rows = read_metrics(folder)
    except UserError as error:
        warnings.warn(str(error), stacklevel=2)
        rows = []
    with user_errors("the run's summary", run.path):
        curves = [points for splits in collect(rows).values() for points in splits.values()]
        if any(len(points) > 1 for points in curves):  # one point is no curve
            from gentool.render.curves import save_curves

            with folder.written(run.curves.name) as file:
                save_curves(rows, file)
        names: list[str] = []
        if folder.has(run.samples.name):
            with folder.folder(run.samples.name) as samples:
                names = pictures_in(samples)
                pictures = [partial(samples.open, n, MOST_PICTURE) for n in names]
                frames = frames_of(pictures) if len(names) > 2 else []
            if frames:
                with folder.written(run.film.name) as file:
                    save_film(frames, file)
        text = card(run, read_config(folder), rows, names, model, folder.has(run.curves.name))
        folder.write(run.card.name, text.encode())
