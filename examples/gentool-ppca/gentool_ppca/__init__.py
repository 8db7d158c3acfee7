"""Probabilistic PCA as a gentool plugin. No torch here: `model.py` has the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option

GENTOOL_API = 1


@dataclass(frozen=True)
class PPCAConfig:
    """Options of ``gentool train ppca``."""

    latent_dim: Annotated[
        int, Option("principal components; fewer than an example has values", min=1)
    ] = 20
    lr: Annotated[float, Option("learning rate of Adam", above=0)] = 1e-4


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="probabilistic PCA: the linear latent-variable model, in closed form",
        config=PPCAConfig,
        factory="gentool_ppca.model:PPCA",
        capabilities=frozenset({"sample", "reconstruct", "likelihood"}),
        defaults={"epochs": 1},
        best="nll",
        paper="Tipping & Bishop 1999, J. R. Stat. Soc. B 61(3), 611-622",
    )
