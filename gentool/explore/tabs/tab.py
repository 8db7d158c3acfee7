"""What a tab is to the server: when it appears, and its functions from state to pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gentool.explore import commands, places
from gentool.explore.places import class_words
from gentool.explore.session import Subject
from gentool.explore.wire import Answer, Ask
from gentool.latent.reconstruct import decode
from gentool.render.grid import to_pixels
from gentool.sampling import attribute_values

Function = Callable[[Subject, Ask], Answer | Iterator[Answer]]


@dataclass(frozen=True)
class Tab:
    """One tab.

    Attributes:
        name: of its module in the page, and of its part of the address.
        fits: whether a run can fill it.
        short: functions that answer at once, by name.
        long: functions that take their time: others are answered meanwhile.
        uploads: those whose question brings a file, as bytes behind its JSON.
    """

    name: str
    fits: Callable[[Subject], bool]
    short: Mapping[str, Function]
    long: Mapping[str, Function]
    uploads: frozenset[str] = frozenset()


def has_model(subject: Subject) -> bool:
    return subject.loaded is not None


def makes_images(subject: Subject) -> bool:
    return subject.loaded is not None and subject.model.header.data.kind == "image"


def located(subject: Subject, ask: Ask) -> Answer:
    """Where a point lies, for what is asked from there; finding it may take its time."""
    found = places.place(subject, ask.within("point"))
    return Answer({"z": found.z.flatten().tolist(), "text": found.text})


def decoded(subject: Subject, z: Tensor, label: int | None) -> np.ndarray:
    """What latents (N, *latent_shape) become: uint8 (N, C, H, W), or points float32 (N, D)."""
    import torch

    model = subject.model.model
    labels = None if label is None else torch.full((len(z),), label)
    if model.condition:  # as the terminal's line without --set
        labels = attribute_values(model, {}, len(z))
    x = decode(model, z, labels).numpy()
    return to_pixels(x) if x.ndim == 4 else x


def picture_of(subject: Subject, z: Tensor, label: int | None, seed: int | None = None) -> Answer:
    """One latent's picture, with the line that draws it."""
    x = decoded(subject, z, label)
    words = ("--n", "1", "--seed", str(seed)) if seed is not None else ("--z", commands.literal(z))
    out = "picture.png" if x.ndim == 4 else "point.npz"
    line = commands.line("sample", subject.word, *words, *class_words(subject, label), "--out", out)
    facts = {"z": z.flatten().tolist(), "point": commands.literal(z)}
    if x.ndim == 2:
        facts["x"] = x[0].tolist()
        return Answer(facts, (x,), line)
    return Answer(facts, (x[0],), line)
