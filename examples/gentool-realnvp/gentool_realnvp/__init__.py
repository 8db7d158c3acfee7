"""RealNVP as a gentool plugin. No torch here: `model.py` has the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option

GENTOOL_API = 1


@dataclass(frozen=True)
class RealNVPConfig:
    """Options of ``gentool train realnvp``."""

    couplings: Annotated[int, Option("affine coupling layers", min=2)] = 8
    hidden: Annotated[int, Option("width of their networks", min=1)] = 128
    lr: Annotated[float, Option("learning rate of Adam", above=0)] = 1e-3


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="normalising flow of affine couplings, with an exact likelihood",
        config=RealNVPConfig,
        factory="gentool_realnvp.model:RealNVP",
        capabilities=frozenset({"sample", "reconstruct", "likelihood"}),
        paper="Dinh et al. 2017, arXiv:1605.08803",
    )
