"""How numbers are taken. No torch here.

One description for ``gentool evaluate``, for the checks of a recipe and for Python: each reads,
bounds and explains these options as `gentool.options` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.spec import Option

MOST = 10_000
"""Examples a side, unless --n says otherwise."""

OF_THIS_MACHINE = ("inception",)
"""Where a file lies changes no number: the record says what was in it."""

FeatureName = Literal["auto", "pixels", "random", "classifier"]


@dataclass(frozen=True)
class Plan:
    """How the numbers are taken; everything here but `OF_THIS_MACHINE` goes into the record."""

    n: Annotated[
        int | None,
        Option("examples on each side of a comparison; by default up to 10000", min=10),
    ] = None
    seeds: Annotated[int, Option("repeat with so many seeds; gives mean ± spread", min=1)] = 1
    seed: Annotated[int, Option("the first seed", min=0)] = 0
    features: Annotated[
        FeatureName,
        Option("what images are compared by; auto: a classifier where there are labels"),
    ] = "auto"
    k: Annotated[int, Option("latents an example for nll", min=1)] = 1000
    nll_n: Annotated[int, Option("test examples for nll", min=2)] = 1000
    neighbours: Annotated[int, Option("the k of the k-NN balls of prdc", min=1)] = 5
    measurements: Annotated[
        tuple[int, ...], Option("random measurements an image, for recovery", min=1)
    ] = (25, 75, 100, 300, 500)
    inception: Annotated[
        str | None, Option("file of the Inception network's weights, for fid and its kin")
    ] = None
    draw: Annotated[bool, Option("draw x ~ p(x|z) instead of taking its mean")] = False
