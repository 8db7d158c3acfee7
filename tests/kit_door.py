"""Doors of made-up plugins for the kit's own tests: one that is right, and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option


@dataclass(frozen=True)
class Config:
    flaw: Annotated[str, Option("what is wrong with the model; empty for nothing")] = ""
    conditional: Annotated[bool, Option("model p(x|label)")] = False
    scale: Annotated[float, Option("of the initial weights", above=0)] = 1.0


@dataclass(frozen=True)
class NoHelp:
    depth: int = 3


@dataclass(frozen=True)
class BadDefault:
    depth: Annotated[int, Option("layers", min=5)] = 3


@dataclass(frozen=True)
class Forgetful:
    depth: Annotated[int, Option("layers", min=1)] = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", self.depth + 1)


@dataclass
class Thawed:
    depth: Annotated[int, Option("layers", min=1)] = 3


SPEC = ModelSpec(
    summary="a diagonal Gaussian with a judge",
    config=Config,
    factory="kit_models:Good",
    data=("points", "image"),
    capabilities=frozenset({"sample", "reconstruct", "likelihood", "score"}),
    api_version=1,
)


@hookimpl
def gentool_model() -> ModelSpec:
    return SPEC
