"""Sliders: from a point along directions, each in standard deviations: z' = z + Σ sₖ σₖ nₖ.

The groups of directions are what a model allows: attributes or classes, once they were asked for or
found with `gentool directions`; the principal directions; and a single latent's axes, the most used
first: by the KL of q(z_j|x) to the prior, averaged over the test data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool.errors import UserError, printable
from gentool.explore import commands, elbo, places
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab, located, makes_images, picture_of
from gentool.explore.wire import Answer, Ask
from gentool.latent.directions import Direction, spread
from gentool.latent.find import find_directions
from gentool.model import Encodes, Infers

LEARNED_FROM = 2000
"""Latents that directions are found on."""

FARTHEST = 20.0
"""Standard deviations."""

MOST_MOVED = 500
AXES = 64
"""Axes that have a slider."""


def groups(subject: Subject, ask: Ask) -> Answer:
    """The directions that are known, and why others are not."""
    return _groups(subject)


def find(subject: Subject, ask: Ask) -> Answer:
    """Directions for the data's attributes or classes: learned now, and kept in memory only."""
    options = subject.model.data_options
    found, notes = find_directions(
        subject.model.model, None, options, n=LEARNED_FROM, progress=subject.progress
    )
    known = [one for one in found.every.values() if one.kind == "normal"]
    _remember(subject, "attributes", known, [printable(note, 200) for note in notes])
    return _groups(subject)


def at(subject: Subject, ask: Ask) -> Answer:
    """The picture of a latent that was moved along directions."""
    z, known = places.latent(subject, ask), every_direction(subject)
    moved = z.double().flatten()
    strengths = ask.within("strengths").fields
    if len(strengths) > MOST_MOVED:
        raise UserError("that many sliders there are not")
    for name in strengths:
        strength = Ask(strengths).number(name, -FARTHEST, FARTHEST)
        if name not in known:
            raise UserError(f"there is no direction {printable(name, 40)!r}; reload the page")
        one = known[name]
        moved = moved + strength * spread(one) * one.vector.double()
    return picture_of(subject, moved.float().view(z.shape), places.label(subject, ask))


def every_direction(subject: Subject) -> dict[str, Direction]:
    """By name, of all groups."""
    _groups(subject)
    return {d.name: d for directions, _ in _kept(subject).values() for d in directions}


def _kept(subject: Subject) -> dict[str, tuple[list[Direction], list[str]]]:
    """By group: the directions, and sentences about those that there are not."""
    found: dict[str, Any] = subject.remember("sliders", dict)
    return found


def _remember(subject: Subject, group: str, found: list[Direction], notes: list[str]) -> None:
    _kept(subject)[group] = (found, notes)


def _groups(subject: Subject) -> Answer:
    for name, make in (("attributes", _attributes), ("principal", _principal), ("axes", _axes)):
        if name in _kept(subject):
            continue
        try:
            _remember(subject, name, make(subject), [])
        except UserError as error:
            _remember(subject, name, [], [str(error)])
    facts = {
        name: {"notes": notes, "directions": _described(found)}
        for name, (found, notes) in _kept(subject).items()
    }
    lines = {
        "attributes": commands.line("directions", subject.word, "--n", str(LEARNED_FROM)),
        "principal": commands.line("directions", subject.word, "--by", "pca"),
    }
    return Answer({"groups": facts, "lines": lines})


def _described(found: Iterable[Direction]) -> list[Mapping[str, Any]]:
    return [{"name": d.name, "std": spread(d), **d.facts} for d in found]


def _attributes(subject: Subject) -> list[Direction]:
    """Those that `gentool directions` kept; none where it was not asked."""
    if not subject.model.directions_file.is_file():
        return []
    every = subject.model.kept_directions().every.values()
    return [one for one in every if one.kind == "normal"]


def _principal(subject: Subject) -> list[Direction]:
    options = subject.model.data_options
    found, _ = find_directions(
        subject.model.model, None, options, by="pca", n=LEARNED_FROM, progress=subject.progress
    )
    return list(found.every.values())


def _axes(subject: Subject) -> list[Direction]:
    """The axes by KL_j = E_x ½(μ_j² + σ_j² − 1 − log σ_j²), the largest first."""
    model = subject.model.model
    if not (isinstance(model, Encodes) and isinstance(model, Infers)):
        raise UserError("an axis has a KL where the encoder is a distribution; this model has none")
    if model.condition:
        raise UserError("the axes of a model that is told attributes are not measured")
    mu, logvar = moments(subject)
    by_axis = elbo.kl(mu, logvar).mean(0)
    size, found = mu.shape[1], []
    for j in by_axis.argsort(descending=True)[:AXES].tolist():
        unit = torch.zeros(size)
        unit[j] = 1
        std = mu[:, j].double().std(correction=0).item()
        facts = {"kl": by_axis[j].item()}
        # A latent that the encoder leaves unused moves by the prior's own deviation.
        std = std if facts["kl"] > 0.01 else 1.0
        found.append(Direction(f"z{j + 1}", unit, std, "principal", facts))
    return found


def moments(subject: Subject) -> tuple[Tensor, Tensor]:
    """μ and log σ² of up to 2,000 examples of the test data, (N, D)."""
    model = subject.model.model
    assert isinstance(model, Infers)
    split = subject.dataset.test if len(subject.dataset.test) else subject.dataset.train
    count = min(LEARNED_FROM, len(split))
    rows = torch.arange(count) * len(split) // count
    parts = []
    with torch.no_grad():
        for start in range(0, count, 250):
            part = rows[start : start + 250].numpy()
            x = torch.from_numpy(np.array(split.x[part])).to(subject.model.device)
            x = torch.true_divide(x, 255) if x.dtype == torch.uint8 else x
            labels = None
            if model.classes and split.labels is not None:
                labels = torch.from_numpy(np.array(split.labels[part])).to(x.device)
            parts.append([m.flatten(1).float().cpu() for m in model.infer(x, labels)])
            subject.pause()
    return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])


TAB = Tab("sliders", makes_images, {"at": at}, {"groups": groups, "find": find, "locate": located})
