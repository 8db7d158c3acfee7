"""Points of the latent space that a page may name. No form of them is a path.

A page's point is one of

    {"seed": 7}               what `gentool sample --seed 7 --n 1` draws
    {"z": [0.5, -1.25]}       a latent, number by number
    {"example": "test:12"}    an example of the run's own data, encoded or inverted
    {"pixels": "base64"}      an image of the model's size, as it was drawn or uploaded

"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.explore.commands import literal
from gentool.explore.session import Subject
from gentool.explore.wire import Ask
from gentool.latent.points import Example
from gentool.latent.prior import draw

FARTHEST = 1e3
"""The largest number that a latent from a page may hold: standard normals stay below 10."""

MOST_SEED = 2**40
MOST_NUMBERS = 2**20


@dataclass(frozen=True)
class Place:
    """A latent, (1, *latent_shape) on the CPU, and the POINT that says the same on a terminal."""

    z: Tensor
    text: str


def place(subject: Subject, ask: Ask) -> Place:
    """The latent of a page's point; raises UserError."""
    if "seed" in ask:
        number = ask.whole("seed", 0, MOST_SEED)
        return Place(seed(subject, number), f"seed:{number}")
    if "z" in ask:
        z = latent(subject, ask)
        return Place(z, literal(z))
    if "example" in ask or "pixels" in ask:
        x, label = example(subject, ask)
        found = subject.locator.reconstruct([x], [label])
        return Place(found.z, literal(found.z))
    raise UserError("a point is a seed, a latent, an example of the data, or an image")


def seed(subject: Subject, number: int) -> Tensor:
    """The first latent that a seed draws, (1, *latent_shape)."""
    return draw(subject.model.model, 1, number).cpu()


def latent(subject: Subject, ask: Ask) -> Tensor:
    """The latent that is written out; raises UserError for what cannot be one."""
    shape = subject.model.model.latent_shape
    size = int(np.prod(shape))
    values = ask.each("z", MOST_NUMBERS)
    if len(values) != size:
        raise UserError(f"a latent of this model has {size} numbers, not {len(values)}")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise UserError("a latent is a list of numbers")
    if not all(-FARTHEST <= v <= FARTHEST for v in values):
        raise UserError(f"a latent's numbers are between -{FARTHEST:g} and {FARTHEST:g}")
    return torch.tensor(values, dtype=torch.float32).view(1, *shape)


def label(subject: Subject, ask: Ask) -> int | None:
    """The class that is asked for, of a class-conditional model; else None."""
    classes = subject.model.model.classes
    return ask.whole("label", 0, classes - 1, 0) if classes else None


def class_words(subject: Subject, number: int | None) -> tuple[str, ...]:
    """``--class`` for the terminal's line."""
    return () if number is None else ("--class", str(number))


def example(subject: Subject, ask: Ask) -> tuple[Tensor, int | None]:
    """An example as the model sees it, and its label where that is known."""
    if "example" in ask:
        text = ask.text("example")
        found = re.fullmatch(r"(train|test):([0-9]{1,12})", text)
        if found is None:
            raise UserError(f"{printable(text, 40)!r} is no example; write test:12 or train:7")
        return subject.locator.example(Example(None, found[1], int(found[2])))
    return pixels(subject, ask), label(subject, ask) if "label" in ask else None


def pixels(subject: Subject, ask: Ask, name: str = "pixels") -> Tensor:
    """An image of the model's size, float32 (C, H, W) in [0, 1], from uint8 (H, W, C)."""
    spec = subject.model.header.data
    if spec.kind != "image":
        raise UserError("this model makes points, and takes no image")
    channels, height, width = spec.shape
    found = raw(ask, name, height * width * channels)
    x = np.frombuffer(found, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return torch.true_divide(torch.from_numpy(np.ascontiguousarray(x)), 255)


def raw(ask: Ask, name: str, size: int) -> bytes:
    """Exactly `size` bytes in base64."""
    text: Any = ask.fields.get(name)
    if not isinstance(text, str) or len(text) > 2 * size + 16:
        raise UserError(f"{name} is no image of {size} values")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{name} is not base64") from None
    if len(found) != size:
        raise UserError(f"{name} holds {len(found)} values, not {size}")
    return found
