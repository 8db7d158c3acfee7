"""Anchors: computations whose answer is known, so that the metrics themselves are judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from gentool import data
from gentool.console import Progress
from gentool.data.options import DataOptions
from gentool.errors import UserError, nearest, printable
from gentool.likeness import sliced_wasserstein
from gentool.metrics.frechet import frechet
from gentool.metrics.ndb import ndb
from gentool.metrics.prdc import prdc
from gentool.train.batches import as_tensor

N = 10_000
DRAWS = 3


def prdc_of_normals(options: DataOptions, progress: Progress) -> dict[str, float]:
    """Precision, recall, density and coverage of N(0, I) against N(0, I): d = 1000, k = 5.

    In so many dimensions a few hubs decide, and one draw spreads by 0.013, 0.010, 0.08 and 0.008:
    these are means of three. The expectation of the density is exactly 1, since a fake is as
    likely as any real to be among the k nearest.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for i in range(DRAWS):
        progress("drawing normals", i, DRAWS)
        real, fake = (torch.randn((N, 1000), generator=generator) for _ in range(2))
        found.append(prdc(real, fake, 5))
    progress("drawing normals", DRAWS, DRAWS)
    return {name: sum(f[name] for f in found) / DRAWS for name in found[0]}


def distances_of_normals(options: DataOptions, progress: Progress) -> dict[str, float]:
    """Fréchet and sliced Wasserstein distance of N(0, I) and N(m, 4 I) in 16 dimensions.

    Fréchet: ‖m‖² + d·(1 − 2)², here 4 + 16. Sliced: with m = 0 each slice is N(0, 1) against
    N(0, 4), whose W₁ is E|N(0, 1)| = √(2/π).
    """
    generator = torch.Generator().manual_seed(0)
    d = 16
    real = torch.randn((N, d), generator=generator)
    fake = 2 * torch.randn((N, d), generator=generator)
    shift = torch.full((d,), (4 / d) ** 0.5)
    return {
        "frechet": frechet(real, fake + shift)["frechet"],
        "swd": sliced_wasserstein(real, fake),
    }


def ndb_train_against_test(options: DataOptions, progress: Progress) -> dict[str, float]:
    """NDB over K of training images against test images, on raw pixels, K = 100.

    Where the splits are alike each bin differs with a probability of 5 %. They are in the
    built-in data; MNIST's test digits are other people's, and the test sees that (0.2).
    """
    dataset = data.load(options, progress=progress)
    n = min(N, len(dataset.train), len(dataset.test))
    rows = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[:n]
    train = np.ascontiguousarray(dataset.train.x[rows.sort().values.numpy()])
    test = as_tensor(dataset.test.x[:n])
    flat = [x.flatten(1).float() / 255 for x in (torch.from_numpy(train), test)]
    return {"ndb": ndb(flat[0], flat[1])["ndb"]}


ANCHORS: dict[str, Callable[[DataOptions, Progress], dict[str, float]]] = {
    "prdc-of-normals": prdc_of_normals,
    "distances-of-normals": distances_of_normals,
    "ndb-train-against-test": ndb_train_against_test,
}


def find(name: str) -> Callable[[DataOptions, Progress], dict[str, float]]:
    """An anchor by its name; raises UserError."""
    if name not in ANCHORS:
        raise UserError(f"there is no anchor {printable(name)!r}{nearest(name, ANCHORS)}")
    return ANCHORS[name]
