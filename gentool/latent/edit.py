"""Editing: along a direction, without another, and arithmetic between points.

along      z' = z + s·σ·n                 n a direction, σ its unit, s the strength
keep       n' = n − Σ_k ⟨n, q_k⟩ q_k      q_k an orthonormal basis of what is to be kept, so that
                                          z'·k = z·k for each k (Shen et al. 2020, section 3.3)
mix        a − b + c                      each letter a point, or the mean of several (Radford
                                          et al. 2016, section 6.3.2)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.errors import UserError, nearest, printable
from gentool.latent.directions import Direction, Directions, spread

MOST_STEPS = 101
LEFT = 1e-3
"""A direction of which less is left, once the kept ones are taken out, is one of them."""


@dataclass(frozen=True)
class Along:
    """A direction by name, and the strengths at which it is looked at."""

    name: str
    strengths: tuple[float, ...]


def parse_along(text: str) -> Along:
    """``smile=-3:3:7``, from −3 to 3 in 7 steps, or ``smile=2``; raises UserError."""
    number = r"([+-]?(?:\d+\.?\d*|\.\d+))"
    found = re.fullmatch(rf"(.+?)={number}(?::{number}:(\d{{1,4}}))?", text.strip())
    if found is None:
        raise UserError(
            f"--along {printable(text)!r} has no range; write NAME=FROM:TO:STEPS, such as "
            "smile=-3:3:7, in standard deviations"
        )
    name, first = found[1], float(found[2])
    if found[3] is None:
        return Along(name, (first,))
    last, steps = float(found[3]), int(found[4])
    if not 2 <= steps <= MOST_STEPS:
        raise UserError(
            f"--along {printable(text)!r} asks for {steps} steps, not 2 to {MOST_STEPS}"
        )
    return Along(name, tuple(first + (last - first) * i / (steps - 1) for i in range(steps)))


def without(direction: Direction, keep: Sequence[Direction]) -> Tensor:
    """The direction's vector less its part in the span of `keep`, not lengthened again: (D,).

    Raises:
        UserError: where nothing is left.
    """
    vector = direction.vector.double()
    if not keep:
        return vector
    basis, _ = torch.linalg.qr(torch.stack([one.vector.double() for one in keep], 1))
    left: Tensor = vector - basis @ (basis.T @ vector)
    if left.norm() < LEFT:
        kept = ", ".join(one.name for one in keep)
        raise UserError(f"nothing of the direction {direction.name!r} is left without {kept}")
    return left


def shift(
    z: Tensor, direction: Direction, strength: float, keep: Sequence[Direction] = ()
) -> Tensor:
    """z' = z + s·σ·n for each row of z (N, *latent_shape), n without what is to be kept."""
    if direction.vector.numel() != z[0].numel():
        raise UserError(
            f"the direction {direction.name!r} has {direction.vector.numel()} numbers, and the "
            f"model's latents {z[0].numel()}; find it again with `gentool directions`"
        )
    step = strength * spread(direction) * without(direction, keep)
    return (z.double() + step.to(z.device).view(1, *z.shape[1:])).to(z.dtype)


def edit(
    z: Tensor, along: Sequence[Along], directions: Directions, keep: Sequence[str] = ()
) -> Tensor:
    """Every combination of strengths of each direction, for each z.

    Args:
        z: (N, *latent_shape).
        along: A directions with S_1 … S_A strengths.
        keep: names of directions along which nothing is to change; one that is edited is not kept.

    Returns:
        (N, S_1, …, S_A, *latent_shape).
    """
    kept = [directions[name] for name in keep if name not in {one.name for one in along}]
    out = z
    for k, one in enumerate(along):
        direction = directions[one.name]
        flat = out.reshape(-1, *z.shape[1:])
        moved = [shift(flat, direction, s, kept) for s in one.strengths]
        lead = z.shape[0], *(len(a.strengths) for a in along[: k + 1])
        out = torch.stack(moved, 1).view(*lead, *z.shape[1:])
    return out


def mix(expression: str, terms: Mapping[str, Tensor]) -> Tensor:
    """``a - b + c``: sums and differences of latents; each term is the mean of its points.

    Args:
        terms: (N, *latent_shape) by name.

    Returns:
        (*latent_shape).

    Raises:
        UserError: for an expression that is none, or a name that is none of the terms.
    """
    tokens = re.findall(r"[A-Za-z_]\w*|\S", expression)
    total: Tensor | None = None
    sign, wants_name = 1.0, True
    for token in tokens:
        if token in ("+", "-", "−") and (not wants_name or (total is None and token != "+")):
            sign, wants_name = (1.0 if token == "+" else -1.0), True
        elif wants_name and token in terms:
            part = sign * terms[token].double().mean(0)
            total, wants_name = part if total is None else total + part, False
        elif wants_name and re.fullmatch(r"\w+", token):
            raise UserError(
                f"--mix {printable(expression)!r} names {token!r}, which is no point here"
                f"{nearest(token, terms)}; known are {', '.join(terms) or 'none'}"
            )
        else:
            break
    else:
        if total is not None and not wants_name:
            return total.float()
    raise UserError(
        f"--mix {printable(expression)!r} is no sum of points; write it like 'a - b + c'"
    )
