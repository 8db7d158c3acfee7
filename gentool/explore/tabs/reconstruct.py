"""Reconstruct: an image that was drawn, uploaded or picked, and what the model makes of it.

Models with an encoder encode; others search the latent whose sample is nearest.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor

from gentool.data.decoding import decode
from gentool.errors import UserError
from gentool.explore import commands, elbo, places
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab, makes_images
from gentool.explore.wire import Answer, Ask, File
from gentool.latent.invert import Descent
from gentool.latent.reconstruct import reconstruct
from gentool.model import Encodes
from gentool.render.grid import to_image, to_pixels

SEARCH = Descent(steps=200, restarts=4)
"""Of models without an encoder; shorter than that of `gentool reconstruct`, which its line says."""

WEIGHTS = 100
"""Latents for log p(x), as `gentool reconstruct` takes by default."""

DRAWN = "drawn.png"
"""What a drawn or uploaded image is called, once it is saved."""

BROWSED = 24
FITS = ("crop", "pad", "stretch")


def upload(subject: Subject, ask: Ask) -> Answer:
    """A file as an image of the model's size, decoded as those of a data set are."""
    fit = ask.choice("fit", FITS, "crop")
    channels, height, width = subject.model.header.data.shape
    target = decode.Target((height, width), 3 if channels == 3 else 1, fit)  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about what it can read all the same
            found = decode.decode(ask.file, target).pixels
    except decode.BadImageError as error:
        raise UserError(f"the file {error}; give an image that can be read") from error
    return Answer({}, (found,))


def browse(subject: Subject, ask: Ask) -> Answer:
    """Some examples of the data, to pick from."""
    split = ask.choice("split", ("test", "train"), "test")
    found = subject.dataset.test if split == "test" else subject.dataset.train
    first = ask.whole("first", 0, 2**40, 0)
    rows = list(range(first, min(first + BROWSED, len(found))))
    names = subject.dataset.spec.classes
    labels = [] if found.labels is None else [names[int(k)] for k in found.labels[rows]]
    facts = {"examples": [f"{split}:{i}" for i in rows], "labels": labels, "of": len(found)}
    return Answer(facts, [np.array(found.x[i]) for i in rows])


def show(subject: Subject, ask: Ask) -> Answer:
    """An image, its reconstruction and their difference, with what can be said in numbers."""
    model = subject.model.model
    point = ask.within("point")
    x, label = places.example(subject, point)
    if "label" in point:  # the class that was chosen, rather than the data's own
        label = places.label(subject, point)
    encodes = isinstance(model, Encodes)
    optimise = not encodes or ask.choice("method", ("auto", "optimise"), "auto") == "optimise"
    search = Descent(SEARCH.steps, 1 if encodes else SEARCH.restarts)
    labels = torch.tensor([label]) if model.classes and label is not None else None
    found = reconstruct(
        model,
        x[None],
        labels=labels,
        method="optimise" if optimise else "encoder",
        descent=search,
        weights=WEIGHTS,
        progress=subject.progress,
    )
    numbers = elbo.parts(model, x[None], found.labels)
    facts = {
        "method": found.method,
        "error": found.error.item(),
        "z": found.z.flatten().tolist(),
        "point": commands.literal(found.z),
        "log_likelihood": None if found.log_likelihood is None else found.log_likelihood.item(),
        "support": model.support,
        "label": None if found.labels is None else int(found.labels),
    }
    if numbers is not None:
        facts |= {
            "kl": numbers.kl.tolist(),
            "mu": numbers.mu.tolist(),
            "sigma": numbers.sigma.tolist(),
            "recon": numbers.recon,
            "negative_elbo": numbers.negative_elbo,
        }
    given, again = to_pixels(found.x.numpy())[0], to_pixels(found.again.numpy())[0]
    apart = to_pixels((found.again - found.x).abs().numpy())[0]
    parts = (given, again, apart, File(png(given), name=DRAWN))
    return Answer(facts, parts, _line(subject, point, optimise, search))


def _line(subject: Subject, point: Ask, optimise: bool, search: Descent) -> str:
    name = point.text("example") if "example" in point else DRAWN
    words = ["--method", "optimise"] if optimise else []
    words += ["--steps", str(search.steps), "--restarts", str(search.restarts)] if optimise else []
    words += places.class_words(subject, places.label(subject, point) if "label" in point else None)
    return commands.line("reconstruct", subject.word, name, *words, "--out", "again.png")


def png(pixels: np.ndarray | Tensor) -> bytes:
    """An image, uint8 (C, H, W), as a file that the terminal's line reads."""
    file = io.BytesIO()
    to_image(np.asarray(pixels)).save(file, format="PNG")
    return file.getvalue()


TAB = Tab(
    "reconstruct",
    makes_images,
    {},
    {"show": show, "browse": browse, "upload": upload},
    uploads=frozenset({"upload"}),
)
