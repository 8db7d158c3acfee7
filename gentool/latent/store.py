"""Directions on disk: one safetensors file, a vector each, and canonical JSON beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gentool.errors import UserError, printable
from gentool.files import canonical_json, user_errors
from gentool.latent.directions import Direction, Directions
from gentool.model import Model
from gentool.weights import KEY, read_tensors, save_tensors

FORMAT_VERSION = 1
NAME = "directions.safetensors"


def save(path: Path, directions: Directions) -> None:
    """Write directions atomically; equal directions give equal bytes."""
    every = directions.every.values()
    facts = {
        "format_version": FORMAT_VERSION,
        "origin": dict(directions.origin),
        "directions": [
            {"name": d.name, "kind": d.kind, "std": d.std, "facts": dict(d.facts)} for d in every
        ],
    }
    vectors = {one.name: one.vector for one in every}
    with user_errors("the directions", path):
        save_tensors(path, vectors, {KEY: canonical_json(facts)})


def load(path: Path, model: Model) -> Directions:
    """Read directions of a model's latents; raises UserError where they are not."""
    shown = printable(str(path))
    if not path.is_file():
        raise UserError(f"there are no directions in {shown}; find some with `gentool directions`")
    tensors = read_tensors(path)
    facts = _facts(path, shown)
    size = math.prod(model.latent_shape)
    every = {}
    try:
        if facts["format_version"] > FORMAT_VERSION:
            raise UserError(f"{shown} was written by a newer gentool; upgrade gentool")
        for one in facts["directions"]:
            vector = tensors[one["name"]].float()
            if tuple(vector.shape) != (size,):
                raise UserError(
                    f"{shown} holds directions of {vector.numel()} numbers, and the model's "
                    f"latents have {size}; find them again with `gentool directions`"
                )
            std = float(one["std"])
            if not (vector.isfinite().all() and math.isfinite(std)):
                raise ValueError("a direction is not finite")
            every[one["name"]] = Direction(
                one["name"], vector, std, one["kind"], dict(one["facts"])
            )
        return Directions(every, dict(facts["origin"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{shown} is damaged ({printable(str(error), 80)})") from error


def _facts(path: Path, shown: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        metadata = handle.metadata() or {}
    try:
        facts = json.loads(metadata[KEY])
        if not isinstance(facts, dict):
            raise ValueError
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{shown} holds no directions that gentool wrote") from error
    return facts
