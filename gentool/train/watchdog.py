"""Tells when samples collapse: looks once an epoch, at a fixed-noise batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gentool.data.dataset import Dataset
from gentool.model import Model, Warns
from gentool.sampling import draw_samples
from gentool.train.batches import some_examples

SAMPLES = 256
COLLAPSED = 0.2
"""Below this share of the data's own diversity a person sees the same picture everywhere."""


def mean_pairwise_distance(x: Tensor) -> float:
    """Mean Euclidean distance between different rows of x (N, …)."""
    return torch.pdist(x.flatten(1)).mean().item() if len(x) > 1 else 0.0


class Watchdog:
    """Compares samples with data, and asks the model for its own warnings."""

    def __init__(self, model: Model, dataset: Dataset, seed: int, device: torch.device) -> None:
        self.model, self.seed, self.device = model, seed, device
        self.labels = model.in_turn(SAMPLES)
        self.real = mean_pairwise_distance(some_examples(dataset.train, SAMPLES))

    def diversity(self) -> float:
        """Mean pairwise distance of samples relative to that of real examples; 1 is ideal.

        Where the real examples are all alike, there is nothing to compare with, and it is 1.
        """
        was_training = self.model.training
        self.model.eval()
        x = draw_samples(self.model, SAMPLES, self.device, seed=self.seed, labels=self.labels)
        self.model.train(was_training)
        return mean_pairwise_distance(x) / self.real if self.real > 0 else 1.0

    def warnings(self, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What a person should know about the epoch that just ended."""
        found = []
        diversity = rows["samples"]["diversity"]
        if diversity < COLLAPSED:
            found.append(
                f"the samples have collapsed: their mean distance is {diversity:.2f} of the data's"
            )
        if isinstance(self.model, Warns):
            found += self.model.warnings(rows["train"])
        return found
