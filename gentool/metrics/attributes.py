"""A small network that tells an image's attributes: trained once on the data, then cached.

It is the attributes' counterpart of the classifier in `features.py`, of the same body and trained
for as long; each attribute has an output of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.console import Progress
from gentool.data.dataset import Dataset, Split
from gentool.errors import UserError
from gentool.likeness import DIMS, centred, small_network
from gentool.metrics.features import BATCH, LEARNING_RATE, STEPS, batch_rows
from gentool.metrics.kept import keep, read_back

_VERSION = 1


@dataclass(frozen=True)
class AttributeClassifier:
    """What is told of images.

    Attributes:
        network: uint8 (N, C, H, W) → (N, K), the logit of a binary attribute, the standardised
            value of a continuous one.
        binary: bool (K,), which are which.
        accuracy: (K,) on the test split: the share told rightly, R² of a continuous attribute.
    """

    network: nn.Module
    binary: Tensor
    accuracy: Tensor

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """The network's outputs, float32 (N, K) on the CPU, of images uint8 (N, C, H, W)."""
        device = next(self.network.parameters()).device
        return torch.cat([self.network(centred(p.to(device))).cpu() for p in x.split(BATCH)])

    def verdicts(self, x: Tensor) -> Tensor:
        """0 or 1 for a binary attribute, the value of a continuous one: float32 (N, K)."""
        scores = self.scores(x)
        return torch.where(self.binary, (scores > 0).float(), scores)


def attribute_classifier(
    dataset: Dataset, cache: Path, device: torch.device, progress: Progress
) -> AttributeClassifier:
    """The classifier of a data set's own attributes: trained once, then read from the cache.

    Args:
        cache: the folder of data that can be made again.

    Raises:
        UserError: where the data has no attributes, or is no images.
    """
    spec = dataset.spec
    if dataset.train.attributes is None or spec.kind != "image":
        raise UserError(f"{dataset.name} has no attributes that a classifier could learn")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        channels, height, width = spec.shape
        body = small_network(channels, height, width, DIMS)
        network = nn.Sequential(body, nn.ReLU(), nn.Linear(DIMS, len(spec.attributes)))
    binary = torch.tensor([one.kind == "binary" for one in spec.attributes])
    path = cache / "classifiers" / f"{dataset.fingerprint}-attributes-{_VERSION}.safetensors"
    if not read_back(network, path):
        _train(network, dataset.train, binary, device, progress)
        keep(network, path)
    network = network.to(device).eval()
    made = AttributeClassifier(network, binary, torch.empty(0))
    held = dataset.test if len(dataset.test) else dataset.train
    return AttributeClassifier(network, binary, _accuracy(made, held))


def _train(
    network: nn.Module, split: Split, binary: Tensor, device: torch.device, progress: Progress
) -> None:
    """Adam in a fixed order of the examples; the learning rate falls to 0."""
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    mask = binary.to(device)
    for step, rows in enumerate(batch_rows(len(split))):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        x, y = _batch(split, rows, device)
        scores = network(centred(x))
        coins = F.binary_cross_entropy_with_logits(scores, y.clamp(0, 1), reduction="none")
        loss = torch.where(mask, coins, (scores - y).square()).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        progress("training the classifier", step + 1, STEPS)


def _batch(split: Split, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    assert split.attributes is not None
    chosen = rows.numpy()
    x, y = np.array(split.x[chosen]), np.array(split.attributes[chosen])
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)


def _accuracy(made: AttributeClassifier, split: Split) -> Tensor:
    x, y = _batch(split, torch.arange(min(len(split), 10_000)), torch.device("cpu"))
    told = made.verdicts(x)
    hits = (told == y).float().mean(0)
    left = (told - y).square().mean(0) / y.var(0, correction=0).clamp(min=1e-12)
    return torch.where(made.binary, hits, 1 - left)
