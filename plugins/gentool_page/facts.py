"""What the page knows of its model: names for the reader, and what the tabs need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

from gentool.errors import UserError, printable
from gentool.explore.session import Subject
from gentool.explore.tabs import fitting, plane, sliders
from gentool.explore.wire import Ask
from gentool.exporters import Export
from gentool.latent.directions import spread
from gentool.model import Model
from gentool.version import __version__

Keep = Callable[[str, Tensor], str]
"""Stores a tensor in the page under a name."""


def of_run(subject: Subject, job: Export) -> dict[str, Any]:
    """The explorer's facts of a run, and who made it when."""
    model = subject.model.model
    config = job.run.read_config() if job.run is not None else {}
    return {
        **subject.facts(),
        "run": False,
        "tabs": [tab.name for tab in fitting(subject)],
        "conditional": model.classes,
        "condition": [one.to_json() for one in model.condition],
        "prior": subject.prior.kind,
        "support": model.support,
        "standalone": True,
        "made": {
            "model": subject.model.header.model,
            "data": _text(config, "data_options", "data"),
            "date": _date(job),
            "seed": _text(config, "settings", "seed"),
            "licence": job.licence or "not stated",
            "gentool": __version__,
        },
    }


def _text(config: dict[str, Any], *names: str) -> str:
    value: Any = config
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return "not known" if value is None else printable(str(value), 120)


def _date(job: Export) -> str:
    """The day on which the weights were written, in UTC."""
    return datetime.fromtimestamp(job.file.stat().st_mtime, UTC).date().isoformat()


def kept(subject: Subject, keep: Keep, notes: list[str]) -> dict[str, Any]:
    """What needs data or long work, and is therefore done now: parts of planes, directions."""
    found: dict[str, Any] = {"planes": {}, "scatter": {}}
    model, data = subject.model.model, subject.model.header.data
    if _numbers(model) > 2:
        try:
            names = ("centre", "across", "down")
            parts = plane.principal(subject)
            found["planes"]["principal"] = {
                name: keep(f"principal.{name}", one) for name, one in zip(names, parts, strict=True)
            }
        except UserError as error:
            notes.append(f"the page has no principal directions: {error}")
    for kind in ("latent", "principal"):
        if kind in found["planes"] or _numbers(model) == 2 or data.kind == "points":
            _scatter(subject, kind, found, keep)
    if data.kind == "image":
        found["sliders"] = _sliders(subject, keep)
    return found


def _numbers(model: Model) -> int:
    total = 1
    for n in model.latent_shape:
        total *= n
    return total


def _scatter(subject: Subject, kind: str, found: dict[str, Any], keep: Keep) -> None:
    """Where test data lies, if this model and machine have it; of points, the data itself."""
    try:
        answer = plane.scatter(subject, Ask({"plane": kind}))
    except UserError:
        return
    import torch

    positions, labels = (torch.from_numpy(part.copy()) for part in answer.parts)  # type: ignore[union-attr]
    found["scatter"][kind] = {
        "facts": dict(answer.facts),
        "shape": list(positions.shape),
        "positions": keep(f"scatter.{kind}", positions),
        "labels": keep(f"scatter.{kind}.labels", labels),
    }


def _sliders(subject: Subject, keep: Keep) -> dict[str, Any]:
    """Groups of directions as the explorer has them, and the directions themselves."""
    facts = dict(sliders.groups(subject, Ask({})).facts)
    known = sliders.every_direction(subject)
    facts["vectors"] = {
        name: {"std": spread(one), "vector": keep(f"direction.{i}", one.vector)}
        for i, (name, one) in enumerate(known.items())
    }
    return facts
