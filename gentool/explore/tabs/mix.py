"""Mix: two to four points as corners, and everything between them.

two     a walk from A to B, as `gentool interpolate A B`
three   walks from the place between A and B to C
four    walks from the place between A and B, above, to that between C and D, below

Walks are great circles under a Gaussian prior and lines under a uniform one.
"""

from __future__ import annotations

import io

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.explore import commands, places
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab, decoded, located, makes_images, picture_of
from gentool.explore.wire import Answer, Ask, File
from gentool.latent import paths
from gentool.render.film import save_frames
from gentool.render.grid import grid_image

MOST_TILES, MOST_STEPS, MOST_VALUES = 16, 60, 2**23
SMALLEST = 256
"""Pixels of a film's longer side at least, as `gentool interpolate` makes them."""


def corners(subject: Subject, ask: Ask) -> list[Tensor]:
    """The corners' latents, each (*latent_shape); raises UserError."""
    given = ask.each("corners", 4)
    if not 2 <= len(given) <= 4:
        raise UserError("two to four corners are mixed")
    return [places.latent(subject, Ask({"z": one}))[0] for one in given]


def between(subject: Subject, ends: list[Tensor], x: float, y: float) -> Tensor:
    """The latent at (x, y) of the square whose upper left is A: (*latent_shape)."""
    path = paths.slerp if paths.kind_for(subject.prior) == "slerp" else paths.linear

    def step(a: Tensor, b: Tensor, t: float) -> Tensor:
        if t in (0.0, 1.0):
            return b if t else a
        return path(a, b, torch.tensor([t], dtype=torch.float64))[0]

    above = step(ends[0], ends[1], x)
    if len(ends) == 2:
        return above
    return step(above, step(ends[2], ends[3], x) if len(ends) == 4 else ends[2], y)


def at(subject: Subject, ask: Ask) -> Answer:
    """The picture at one place."""
    z = between(subject, corners(subject, ask), ask.number("x", 0, 1), ask.number("y", 0, 1, 0))
    return picture_of(subject, z[None], places.label(subject, ask))


def tiles(subject: Subject, ask: Ask) -> Answer:
    """Pictures over the square, or along the line of two corners, as one without gaps."""
    ends, side = corners(subject, ask), ask.whole("side", 2, MOST_TILES, 7)
    rows = 1 if len(ends) == 2 else side
    if rows * side * subject.model.header.data.size > MOST_VALUES:
        raise UserError("that many pictures of this size are too many; ask for fewer")
    z = torch.stack(
        [
            between(subject, ends, j / (side - 1), i / max(1, rows - 1))
            for i in range(rows)
            for j in range(side)
        ]
    )
    found = decoded(subject, z, places.label(subject, ask))
    c, h, w = found.shape[1:]
    sheet = found.reshape(rows, side, c, h, w).transpose(2, 0, 3, 1, 4)
    return Answer({"rows": rows, "side": side}, (sheet.reshape(c, rows * h, side * w),))


def film(subject: Subject, ask: Ask) -> Answer:
    """The walk through the corners and back as a GIF, byte for byte that of the terminal."""
    ends, steps = corners(subject, ask), ask.whole("steps", 2, MOST_STEPS, 20)
    label = places.label(subject, ask)
    kind = paths.kind_for(subject.prior)
    z, _ = paths.walk(torch.stack(ends), steps, kind, loop=True)
    if len(z) * subject.model.header.data.size > 4 * MOST_VALUES:
        raise UserError("a film of so many pictures of this size is too long; ask for fewer steps")
    x = decoded(subject, z, label)
    file = io.BytesIO()
    save_frames([grid_image(one[None], smallest=SMALLEST) for one in x], file)
    names = [commands.literal(one) for one in ends]
    words = ["--loop", "--steps", str(steps), *places.class_words(subject, label)]
    line = commands.line("interpolate", subject.word, *names, *words, "--out", "film.gif")
    return Answer({"frames": len(x)}, (File(file.getvalue(), "image/gif", "film.gif"), *x), line)


TAB = Tab("mix", makes_images, {"at": at, "tiles": tiles}, {"film": film, "locate": located})
