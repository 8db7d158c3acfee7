"""Directions of the latent space that mean something, and how sure that is.

Along an attribute (smile) or a class (the digit 3):

    normal   of the linear classifier p(y = 1|z) = σ(w·z + b): n = w/‖w‖ (InterFaceGAN, Shen et al.
             2020, arXiv:1907.10786); for a continuous attribute, of the regression
    mean     the difference of the class means, E[z|y = 1] − E[z|y = 0]

Without any labels, `pcaK`: the principal directions of the encoded data; for a generator without
an encoder, of its first layer's activations, carried back to z by regression (GANSpace, Härkönen
et al. 2020, arXiv:2004.02546).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gentool.errors import UserError, nearest, printable
from gentool.latent import linear
from gentool.model import Model
from gentool.spec import Attribute

Kind = Literal["normal", "mean", "principal"]

MOST_COMPONENTS = 20
LEAST_CASES = 8
"""Examples with and without an attribute below which nothing is learned of it."""


@dataclass(frozen=True)
class Direction:
    """One direction.

    Attributes:
        name: what ``--along`` takes: "smile", "smile.mean", "pca1".
        vector: float32 (D,) of length 1, D the number of values in one z.
        std: the standard deviation of z·vector over the latents it was found on: the unit of an
            edit's strength.
        kind: "normal", "mean" or "principal".
        facts: numbers to judge it by: "accuracy" on held-out latents and "majority", that of the
            commoner answer always given; "r2" of a continuous attribute; "explained", the share
            of the variance.
    """

    name: str
    vector: Tensor
    std: float
    kind: Kind
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Directions:
    """Directions by name, and where they come from.

    Attributes:
        every: in the order in which they were found.
        origin: plain JSON: the data, its fingerprint, the model's weights, how many latents.
    """

    every: Mapping[str, Direction]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Direction:
        """The direction of that name; raises UserError, with the nearest name, for no such."""
        if name not in self.every:
            known = ", ".join(map(printable, list(self.every)[:20])) or "none"
            raise UserError(
                f"there is no direction {printable(name)!r}{nearest(name, self.every)}; "
                f"known are {known}"
            )
        return self.every[name]

    def __len__(self) -> int:
        return len(self.every)

    def angles(self) -> Tensor:
        """The angle between each two, in degrees from 0 to 180: float64 (K, K)."""
        vectors = torch.stack([one.vector.double() for one in self.every.values()])
        return torch.rad2deg(torch.acos((vectors @ vectors.T).clamp(-1, 1)))


@dataclass(frozen=True)
class Evidence:
    """Latents with what is known of them; for finding directions, and for testing them.

    Attributes:
        z, y: float (N, D) and (N, K).
        held_z, held_y: others, which nothing is learned from.
        attributes: what the K columns of y are.
    """

    z: Tensor
    y: Tensor
    held_z: Tensor
    held_y: Tensor
    attributes: tuple[Attribute, ...]


def supervised(evidence: Evidence) -> tuple[list[Direction], list[str]]:
    """For each attribute the classifier's normal, under its name, and ``NAME.mean``.

    Returns:
        the directions, and a sentence for each attribute that nothing can be learned of.
    """
    found, notes = [], []
    for k, attribute in enumerate(evidence.attributes):
        y, held = evidence.y[:, k].double(), evidence.held_y[:, k].double()
        few = attribute.kind == "binary" and min(y.sum(), (1 - y).sum()) < LEAST_CASES
        if few or y.std() == 0:
            notes.append(
                f"{attribute.name}: {int(y.sum())} of {len(y)} latents have it, from which nothing "
                "is learned"
            )
            continue
        found += _along(attribute, evidence.z, y, evidence.held_z, held)
    return found, notes


def _along(
    attribute: Attribute, z: Tensor, y: Tensor, held_z: Tensor, held_y: Tensor
) -> list[Direction]:
    wide, held = z.double(), held_z.double()
    if attribute.kind == "binary":
        w, b = linear.logistic(z, y)
        hits = ((held @ w + b > 0) == (held_y > 0.5)).double().mean().item()
        share = held_y.mean().item()
        facts = {"accuracy": hits, "majority": max(share, 1 - share)}
        between = wide[y > 0.5].mean(0) - wide[y <= 0.5].mean(0)
    else:
        w, b = linear.least_squares(z, y)
        left = (held @ w + b - held_y).square().mean() / held_y.var(correction=0).clamp(min=1e-12)
        facts = {"r2": 1 - left.item()}
        between = ((y - y.mean())[:, None] * (wide - wide.mean(0))).mean(0)
    # The same answer from the means alone: the nearer of the two along their difference.
    kinds: list[tuple[str, Tensor, Kind, dict[str, float]]] = [
        (attribute.name, w, "normal", facts),
        (f"{attribute.name}.mean", between, "mean", _of_means(between, wide, y, held, held_y)),
    ]
    return [made(name, v, z, kind, facts) for name, v, kind, facts in kinds]


def _of_means(
    between: Tensor, z: Tensor, y: Tensor, held_z: Tensor, held_y: Tensor
) -> dict[str, float]:
    """Held-out accuracy of the threshold halfway between the two means; nothing if continuous."""
    if not torch.isin(y, torch.tensor([0.0, 1.0], dtype=y.dtype)).all():
        return {}
    middle = (z[y > 0.5].mean(0) + z[y <= 0.5].mean(0)) @ between / 2
    hits = ((held_z @ between > middle) == (held_y > 0.5)).double().mean().item()
    share = held_y.mean().item()
    return {"accuracy": hits, "majority": max(share, 1 - share)}


def made(name: str, vector: Tensor, z: Tensor, kind: Kind, facts: Mapping[str, float]) -> Direction:
    """A direction of length 1, with its unit measured on z (N, D)."""
    unit = vector.double() / vector.double().norm().clamp(min=1e-300)
    std = (z.double() @ unit).std(correction=0).item()
    return Direction(name, unit.float(), std, kind, dict(facts))


def principal(z: Tensor, count: int = MOST_COMPONENTS) -> list[Direction]:
    """``pca1`` …: the principal directions of latents z (N, D), most variance first."""
    _, components, variances = linear.principal(z, count)
    total = z.double().var(0, correction=0).sum().item()
    return [
        made(f"pca{i + 1}", v, z, "principal", {"explained": variances[i].item() / total})
        for i, v in enumerate(components)
    ]


def first_layer(
    model: Model, z: Tensor, labels: Tensor | None, count: int = MOST_COMPONENTS
) -> list[Direction]:
    """``pca1`` … of a generator: principal components of its first layer's activations over draws
    z (N, *latent_shape) of the prior, carried to z by u_k = argmin Σ‖z − x_k u‖², x_k the
    coordinates (GANSpace, section 2.1)."""
    flat = z.flatten(1).double().cpu()
    seen = activations(model, z, labels)
    coordinates, _, variances = linear.principal(seen, min(count, flat.shape[1]))
    total = seen.double().var(0, correction=0).sum().item()
    carried = coordinates.T @ (flat - flat.mean(0)) / coordinates.square().sum(0)[:, None]
    return [
        made(f"pca{i + 1}", u, flat, "principal", {"explained": variances[i].item() / total})
        for i, u in enumerate(carried)
    ]


def activations(model: Model, z: Tensor, labels: Tensor | None) -> Tensor:
    """What the first layer with weights that `sample` calls puts out, (N, F) on the CPU.

    Raises:
        UserError: for a model whose `sample` calls no such layer.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if not seen and isinstance(output, Tensor) and len(output) == len(z):
            seen.append(output.detach().flatten(1).float().cpu())

    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        with torch.no_grad():
            model.sample(z, labels)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise UserError(
            "this model's sample() calls no layer with weights, so it has no activations to "
            "analyse; use --by labels"
        )
    return seen[0]


def merged(
    old: Directions | None, found: Iterable[Direction], origin: Mapping[str, Any]
) -> Directions:
    """New directions beside those known already, which they replace by name."""
    every = dict(old.every) if old is not None else {}
    every |= {one.name: one for one in found}
    return Directions(every, dict(origin))


def spread(direction: Direction) -> float:
    """The unit of strength along a direction; 1 where nothing varied along it."""
    return direction.std if direction.std > 0 and math.isfinite(direction.std) else 1.0
