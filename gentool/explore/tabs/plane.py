"""Plane: a 2-D plane of the latent space, with the image under the pointer.

latent      of two latents, it is the plane itself
seeds       endless: every point with whole coordinates is a seed, and between them the four
            nearest are blended, z = Σ wᵢ zᵢ / √Σ wᵢ² with bilinear w, which leaves z ~ N(0, I)
            where it was; under a uniform prior z = Σ wᵢ zᵢ, which stays in the box
points      through three points: z = a + x (b − a) + y (c − a)
principal   z = μ + x σ₁ n₁ + y σ₂ n₂, the first two principal directions
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.explore import places
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab, decoded, has_model, picture_of
from gentool.explore.wire import Answer, Ask
from gentool.latent import directions
from gentool.latent.evidence import latents_of
from gentool.latent.prior import draw
from gentool.model import Encodes

KINDS = ("latent", "seeds", "points", "principal")
FAR = 1e4
"""The farthest coordinate."""

MOST_TILES = 26
MOST_VALUES = 2**23
"""Tiles along a side, and numbers in all of them."""

SHOWN = 2000
"""Encoded examples that are drawn as points."""

ENCODED = 2000
"""Latents that the principal directions are found on."""

Plane = Callable[[Tensor, Tensor], Tensor]
"""From coordinates x and y, float64 (N,), to latents, float32 (N, *latent_shape)."""


def plane(subject: Subject, ask: Ask) -> Plane:
    """The plane that is asked for; raises UserError."""
    kind = ask.choice("plane", KINDS, "latent" if _flat(subject) else "seeds")
    shape = subject.model.model.latent_shape
    if kind == "latent":
        if not _flat(subject):
            raise UserError("only a model of two latents is a plane itself")
        return lambda x, y: torch.stack([x, y], 1).float().view(-1, *shape)
    if kind == "seeds":
        return lambda x, y: torch.cat(
            [blended(subject, a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        )
    if kind == "points":
        a, b, c = _three(subject, ask)
        return lambda x, y: (
            a + _wide(x, shape) * (b - a).double() + _wide(y, shape) * (c - a).double()
        ).float()
    centre, across, down = principal(subject)
    return lambda x, y: (centre + x[:, None] * across + y[:, None] * down).float().view(-1, *shape)


def _flat(subject: Subject) -> bool:
    return math.prod(subject.model.model.latent_shape) == 2


def _wide(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.view(-1, *[1] * len(shape))


def _three(subject: Subject, ask: Ask) -> list[Tensor]:
    given = ask.each("points", 3)
    if len(given) != 3 or not all(isinstance(one, dict) for one in given):
        raise UserError("this plane goes through three points; name three")
    key = ("points", repr(given))
    if key not in subject.kept:
        subject.kept = {k: v for k, v in subject.kept.items() if k[0] != "points"}
    found: list[Tensor] = subject.remember(
        key, lambda: [places.place(subject, Ask(one)).z.double() for one in given]
    )
    return found


def principal(subject: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """The mean and the first two directions, each a standard deviation long: float64 (D,).

    Raises:
        UserError: where the data is not here, or there are fewer than two.
    """
    found: tuple[Tensor, Tensor, Tensor] = subject.remember("plane", lambda: _principal(subject))
    return found


def _principal(subject: Subject) -> tuple[Tensor, Tensor, Tensor]:
    model = subject.model.model
    if isinstance(model, Encodes):
        z, _ = latents_of(model, subject.dataset.train, ENCODED, subject.progress)
        found = directions.principal(z, 2)
    else:
        draws = draw(model, ENCODED)
        z = draws.flatten(1).cpu()
        labels = torch.arange(len(z), device=draws.device) % max(1, model.classes)
        found = directions.first_layer(model, draws, labels if model.classes else None, 2)
    if len(found) < 2:
        raise UserError("this model has fewer than two principal directions")
    across, down = (one.vector.double() * directions.spread(one) for one in found[:2])
    return z.double().mean(0), across, down


def spiral(i: int, j: int) -> int:
    """The seed at (i, j): 0 in the middle, and round it, so that all are small and none twice."""
    r = max(abs(i), abs(j))
    if r == 0:
        return 0
    start = (2 * r - 1) ** 2
    if i == r and j > -r:
        return start + j + r - 1
    if j == r:
        return start + 2 * r + r - 1 - i
    if i == -r:
        return start + 4 * r + r - 1 - j
    return start + 6 * r + i + r - 1


def blended(subject: Subject, x: float, y: float) -> Tensor:
    """The latent at (x, y) of the plane of seeds, (1, *latent_shape)."""
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    corners = [(i, j, (1 - u) * (1 - v)), (i + 1, j, u * (1 - v))]
    corners += [(i, j + 1, (1 - u) * v), (i + 1, j + 1, u * v)]
    used = [(spiral(a, b), w) for a, b, w in corners if w > 0]
    if len(used) == 1:
        return _seed(subject, used[0][0])
    z = torch.stack([w * _seed(subject, number).double() for number, w in used]).sum(0)
    if subject.prior.kind == "gaussian":
        z = z / math.sqrt(sum(w * w for _, w in used))
    return z.float()


def _seed(subject: Subject, number: int) -> Tensor:
    known: dict[int, Tensor] = subject.remember("seeds", dict)
    if number not in known:
        if len(known) > 4096:
            known.clear()
        known[number] = places.seed(subject, number)
    return known[number]


def at(subject: Subject, ask: Ask) -> Answer:
    """The picture at one position."""
    x, y = ask.number("x", -FAR, FAR), ask.number("y", -FAR, FAR)
    label = places.label(subject, ask)
    where = torch.tensor([[x], [y]], dtype=torch.float64)
    z = plane(subject, ask)(where[0], where[1])
    snapped = None
    if ask.fields.get("plane") == "seeds" and x.is_integer() and y.is_integer():
        snapped = spiral(int(x), int(y))
    answer = picture_of(subject, z, label, snapped)
    return Answer({**answer.facts, "seed": snapped}, answer.parts, answer.command)


def tiles(subject: Subject, ask: Ask) -> Answer:
    """Pictures over a part of the plane, as one without gaps; of points, where they land."""
    side = ask.whole("side", 2, MOST_TILES, 9)
    left, right = ask.number("left", -FAR, FAR), ask.number("right", -FAR, FAR)
    bottom, top = ask.number("bottom", -FAR, FAR), ask.number("top", -FAR, FAR)
    if side * side * subject.model.header.data.size > MOST_VALUES:
        raise UserError("that many pictures of this size are too many; ask for fewer")
    steps = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    x, y = left + steps * (right - left), top + steps * (bottom - top)
    z = plane(subject, ask)(x.repeat(side), y.repeat_interleave(side))
    found = decoded(subject, z, places.label(subject, ask))
    if found.ndim == 2:
        return Answer({"side": side}, (found.reshape(side, side, -1),))
    c, h, w = found.shape[1:]
    sheet = found.reshape(side, side, c, h, w).transpose(2, 0, 3, 1, 4)
    return Answer({"side": side}, (sheet.reshape(c, side * h, side * w),))


def scatter(subject: Subject, ask: Ask) -> Answer:
    """Where the test data is encoded, with its labels; of points, real ones."""
    split = subject.dataset.test if len(subject.dataset.test) else subject.dataset.train
    model, names = subject.model.model, list(subject.dataset.spec.classes)
    if subject.model.header.data.kind == "points":
        real = np.array(split.x[:SHOWN, :2])
        return Answer({"real": True, "classes": names}, (real, _labels(split.labels, len(real))))
    kind = ask.choice("plane", KINDS)
    if not isinstance(model, Encodes) or kind not in ("latent", "principal"):
        raise UserError("only encoded data lies in this plane")
    z, rows = latents_of(model, split, SHOWN, subject.progress)
    positions = z
    if kind == "principal":
        centre, across, down = principal(subject)
        away = z.double() - centre
        positions = torch.stack(
            [away @ one / (one @ one).clamp(min=1e-300) for one in (across, down)], 1
        )
    chosen = None if split.labels is None else split.labels[rows.numpy()]
    return Answer(
        {"real": False, "classes": names},
        (positions.float().numpy(), _labels(chosen, len(positions))),
    )


def _labels(labels: np.ndarray | None, n: int) -> np.ndarray:
    return np.zeros(n, np.float32) if labels is None else labels[:n].astype(np.float32)


TAB = Tab("plane", has_model, {"at": at, "tiles": tiles}, {"scatter": scatter})
