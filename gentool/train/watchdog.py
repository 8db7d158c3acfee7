"""Looks at samples after an epoch: how alike they are to the data, and what has gone wrong.

Everything here is a function of the step and the weights, so that a resumed run logs what an
undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gentool.data.dataset import Dataset, Split
from gentool.data.sources import points
from gentool.errors import UserError
from gentool.likeness import count_modes, distance, moments, random_embedding, sliced_wasserstein
from gentool.model import Model, Warns
from gentool.sampling import draw_samples, stream
from gentool.train.batches import as_tensor, some_examples
from gentool.train.copies import distance_ratio
from gentool.train.settings import TrainSettings

SAMPLES = 256
COLLAPSED = 0.2
"""Below this share of the data's own diversity a person sees the same picture everywhere."""

MODES_KEPT = 0.75
"""A mixture of which fewer modes are reached is one that the generator has collapsed on."""

LOOK_EVERY = 20_000
"""Training examples between two looks at distances: a small data set is not looked at every epoch,
so that looking stays cheap beside training."""

QUIET = 1000
"""Steps in which nothing is diagnosed: at first every game looks collapsed."""

FEW, VERY_FEW = 2000, 1000
"""Training images below which augmentation pays (Zhao et al. 2020), and below which any model
learns them by heart."""

DISTANCES = {"image": "frechet_random", "points": "swd"}
"""The distance that ranks the epochs of a model without a likelihood, by the kind of data."""

CHUNK = 256


class Watchdog:
    """Compares samples with data, and asks the model for its own warnings."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        settings: TrainSettings,
        device: torch.device,
        best: str = "",
        source: str = "",
    ) -> None:
        """
        Args:
            best: the scalar that ranks epochs; a distance is computed where it is one.
            source: what ``--data`` said, without a count; it names a known mixture or none.
        """
        self.model, self.dataset, self.settings, self.device = model, dataset, settings, device
        self.labels = model.in_turn(SAMPLES)
        self.real = mean_pairwise_distance(some_examples(dataset.train, SAMPLES))
        self.mixture = mixture_of(dataset, source)
        kind = dataset.spec.kind
        self.judged = DISTANCES[kind] if best == DISTANCES[kind] else ""
        self.total = self.per_epoch = self.batch_size = 1
        self._network: nn.Module | None = None
        self._reals: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self, total: int, per_epoch: int, batch_size: int) -> None:
        """Be told of the steps in the training and in an epoch, and of the examples in a step."""
        self.total, self.per_epoch, self.batch_size = total, per_epoch, batch_size

    def at_start(self) -> list[str]:
        """What a person should know before the first step."""
        n, remedy = len(self.dataset.train), self.model.remedies.get("few")
        if self.dataset.spec.kind != "image" or n >= (FEW if remedy else VERY_FEW):
            return []
        advice = remedy or "more of them, or --flip where a mirrored image is as likely"
        few = f"{n:,} training images are few, and a model soon knows them by heart"
        return [f"{few}; try {advice}"]

    def look(self, step: int) -> dict[str, float]:
        """Scalars of the samples after `step`; the model is in eval mode."""
        row = {"diversity": self.diversity()}
        n = self._count(step)
        if not n or not (self.judged or self.mixture or step >= self.total):
            return row
        if self.judged:
            row[self.judged] = self._distance(n)
        if self.mixture is not None:
            row |= count_modes(torch.cat(list(self._samples(n))).numpy(), *self.mixture)
        if step >= self.total and self.quiet < self.total:
            fakes = torch.cat(list(self._samples(SAMPLES)))
            ratio = distance_ratio(fakes, self.dataset, self.device)
            row |= {} if ratio is None else {"distance_ratio": ratio}
        return row

    def _count(self, step: int) -> int:
        """How many samples to compare with data after an epoch; 0 for none this time."""
        most, seen = self.settings.judge_samples, step * self.batch_size
        if step >= self.total:  # of a short training not more than it is worth
            return most if seen >= LOOK_EVERY else min(most, max(SAMPLES, seen // 10))
        before = max(0, step - self.per_epoch) * self.batch_size
        return most if seen // LOOK_EVERY > before // LOOK_EVERY else 0

    def diversity(self) -> float:
        """Mean pairwise distance of samples relative to that of real examples; 1 is ideal.

        Where the real examples are all alike, there is nothing to compare with, and it is 1.
        """
        seed = self.settings.seed
        x = draw_samples(self.model, SAMPLES, self.device, seed=seed, labels=self.labels)
        return mean_pairwise_distance(x) / self.real if self.real > 0 else 1.0

    def _samples(self, n: int) -> Iterator[Tensor]:
        """The same n latents at every look, as examples, some at a time, on the CPU."""
        size = self.dataset.spec.size
        return stream(self.model, n, self.device, seed=self.settings.seed, size=size)

    def _distance(self, n: int) -> float:
        """Samples to as many training examples: `DISTANCES`, lowest for the most alike.

        Images by the Fréchet distance of 64 random features, which sees quality and diversity at
        once; points by sliced Wasserstein, since two moments say little of a mixture.
        """
        if self.dataset.spec.kind == "points":
            fake = torch.cat(list(self._samples(n)))
            real = torch.cat(list(spread(self.dataset.train, n)))
            m = min(len(fake), len(real))
            return sliced_wasserstein(real[:m], fake[:m], 64)
        if n not in self._reals:
            self._reals[n] = moments(self._features(spread(self.dataset.train, n)))
        mu, sigma = moments(self._features(self._samples(n)))
        return distance(*self._reals[n], mu, sigma)

    @torch.inference_mode()
    def _features(self, images: Iterator[Tensor]) -> Tensor:
        """Images (m, C, H, W) in [0, 1], part by part → float32 (n, 64) on the CPU."""
        if self._network is None:
            with torch.random.fork_rng(devices=[]):  # layers draw weights that are not used
                made = random_embedding(*self.dataset.spec.shape)
            self._network = made.to(self.device)
        network = self._network
        return torch.cat([network(2 * x.to(self.device) - 1).float().cpu() for x in images])

    @property
    def quiet(self) -> int:
        """Until which step nothing is diagnosed: a fifth of the training, within bounds."""
        return min(max(QUIET, self.total // 5), 5 * QUIET)

    def warnings(self, rows: Mapping[str, Mapping[str, Any]], step: int) -> list[str]:
        """What a person should know about the epoch that just ended."""
        if step < self.quiet:
            return []
        found = self._of_samples(rows["samples"])
        if isinstance(self.model, Warns):
            found += self.model.warnings(rows["train"])
        return found

    def _of_samples(self, row: Mapping[str, float]) -> list[str]:
        """Sentences on what the look has found, each with what to try."""
        found = []
        if self.mixture is not None and "modes" in row:
            known = len(self.mixture[0])
            if row["modes"] < MODES_KEPT * known:
                reached = f"the samples reach {row['modes']:.0f} of {known} modes"
                found.append(self._advised(reached, "collapse"))
        elif row["diversity"] < COLLAPSED:
            far = f"their mean distance is {row['diversity']:.2f} of the data's"
            found.append(self._advised(f"the samples have collapsed: {far}", "collapse"))
        if row.get("distance_ratio", 1.0) < COPIED:
            share = f"{row['distance_ratio']:.0%} as far from a training image as test images are"
            found.append(self._advised(f"samples look like copies: they lie {share}", "memorised"))
        return found

    def _advised(self, what: str, kind: str) -> str:
        remedy = self.model.remedies.get(kind)
        return f"{what}; try {remedy}" if remedy else what


COPIED = 0.5
"""Samples half as far from their nearest training image as test images are: blurred ones, which lie
nearer than sharp ones do, stay above it."""


def mixture_of(dataset: Dataset, source: str) -> tuple[np.ndarray, float] | None:
    """Centres (K, D) and sigma of a toy source that is a mixture of several modes, else None."""
    if dataset.spec.kind != "points":
        return None
    try:
        centres, sigma = points.modes(source)
    except UserError:
        return None
    return (centres, sigma) if len(centres) > 1 else None


def spread(split: Split, n: int) -> Iterator[Tensor]:
    """Up to n examples spread evenly over a split, as a model sees them, some at a time."""
    whole = as_tensor(split.x)
    count = min(n, len(whole))
    rows = torch.arange(count) * len(whole) // max(1, count)
    for part in rows.split(CHUNK):
        x = whole.index_select(0, part)
        yield torch.true_divide(x, 255) if x.dtype == torch.uint8 else x.float()


def mean_pairwise_distance(x: Tensor) -> float:
    """Mean Euclidean distance between different rows of x (N, …)."""
    return torch.pdist(x.flatten(1)).mean().item() if len(x) > 1 else 0.0
