"""What images are compared by: raw pixels, a fixed random network, or a small classifier.

Every feature space has a name and a hash of its weights, and both go into the record: numbers
from different spaces are not comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.console import Progress
from gentool.data.dataset import Dataset
from gentool.data.sources.stacked import CLASSES
from gentool.errors import UserError
from gentool.likeness import DIMS, centred, random_embedding, small_network
from gentool.metrics.kept import keep, read_back

BATCH = 500


@dataclass(frozen=True)
class Features:
    """A map from examples to vectors.

    Attributes:
        name: ``coordinates``, ``pixels``, ``random`` or ``classifier``.
        hash: 12 hex digits of the weights; empty where there are none.
        function: uint8 (n, C, H, W) or float (n, d) → float32 (n, dims).
        facts: what else is worth recording, such as the classifier's accuracy.
    """

    name: str
    hash: str
    function: Callable[[Tensor], Tensor]
    facts: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, str | float]:
        return {"name": self.name, "hash": self.hash, **self.facts}

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.function(part).to(x.device) for part in x.split(BATCH)])


def coordinates() -> Features:
    """Points as they are."""
    return Features("coordinates", "", lambda x: x.float())


def pixels() -> Features:
    """Raw pixels in [0, 1]."""
    return Features("pixels", "", lambda x: x.flatten(1).float() / 255)


def random_network(channels: int, height: int, width: int, device: torch.device) -> Features:
    """64 outputs of a convolutional network with fixed random weights: `random_embedding`."""
    network = random_embedding(channels, height, width).to(device)
    return Features("random", weights_hash(network), lambda x: network(centred(x.to(device))))


class Classifier(nn.Module):
    """A small network that tells the real classes apart; its last hidden layer is the features.

    `scale` is set once it is trained.

    With `per_channel`, each channel is an image of its own with a class of its own, as in Stacked
    MNIST; features of the channels are concatenated.
    """

    scale: Tensor

    def __init__(
        self, shape: tuple[int, int, int], classes: int, per_channel: bool = False
    ) -> None:
        super().__init__()
        self.classes, self.per_channel = classes, per_channel
        channels = 1 if per_channel else shape[0]
        self.body = small_network(channels, *shape[1:], DIMS)
        self.head = nn.Linear(DIMS, classes)
        self.register_buffer("scale", torch.ones(()))

    def features(self, x: Tensor) -> Tensor:
        """`hidden` with a mean square of 1 on the training data, so that numbers are readable."""
        return self.hidden(x) * self.scale

    def hidden(self, x: Tensor) -> Tensor:
        """uint8 (n, C, H, W) → (n, 64), or (n, 64·C) with `per_channel`."""
        if not self.per_channel:
            return F.relu(self.body(centred(x)))
        single = x.flatten(0, 1).unsqueeze(1)
        return F.relu(self.body(centred(single))).view(len(x), -1)

    def logits(self, x: Tensor) -> Tensor:
        """uint8 (n, C, H, W) → (n, classes), or (n, C, classes) with `per_channel`."""
        hidden = self.hidden(x)
        logits: Tensor = self.head(hidden.view(len(x), -1, DIMS) if self.per_channel else hidden)
        return logits

    @torch.no_grad()
    def labels(self, x: Tensor) -> Tensor:
        """The most likely class of each image, int64 (n,), on the CPU; a number of digits
        `per_channel`."""
        device = self.head.weight.device
        return torch.cat([self._labels(part.to(device)).cpu() for part in x.split(BATCH)])

    def _labels(self, x: Tensor) -> Tensor:
        best = self.logits(x).argmax(-1)
        if not self.per_channel:
            return best
        place = self.classes ** torch.arange(best.shape[1] - 1, -1, -1, device=best.device)
        return (best * place).sum(1)


STEPS, TRAIN_BATCH, LEARNING_RATE, MOST_IMAGES = 1500, 128, 1e-3, 60_000
_VERSION = 3


def classifier(
    dataset: Dataset, cache: Path, device: torch.device, progress: Progress
) -> tuple[Classifier, Features]:
    """The classifier of a data set's own labels: trained once, then read from the cache.

    Args:
        cache: the folder of data that can be made again.

    Raises:
        UserError: where the data has no labels.
    """
    per_channel = stacked(dataset)
    if dataset.train.labels is None or len(dataset.spec.classes) < 2:
        raise UserError(
            f"the features 'classifier' need labels, and {dataset.name} has none; "
            "use --features random or --features pixels"
        )
    classes = len(dataset.spec.classes)
    if per_channel:
        classes = round(classes ** (1 / dataset.spec.shape[0]))
    height, width = dataset.spec.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier((dataset.spec.shape[0], height, width), classes, per_channel)
    path = cache / "classifiers" / f"{dataset.fingerprint}-{_VERSION}.safetensors"
    if not read_back(network, path):
        _train(network, dataset, device, progress)
        keep(network, path)
    network = network.to(device).eval()
    accuracy, chance = _accuracy(network, dataset, device)
    features = Features(
        "classifier",
        weights_hash(network),
        lambda x: network.features(x.to(device)),
        {"accuracy": accuracy, "chance": chance},
    )
    return network, features


HALFWAY = 0.5
"""A classifier is trusted from halfway between guessing and always being right."""


def tells_classes_apart(features: Features) -> bool:
    """Whether (accuracy − chance) / (1 − chance) ≥ ½: the kappa of Cohen (1960), nearly."""
    accuracy, chance = features.facts["accuracy"], features.facts["chance"]
    return accuracy - chance >= HALFWAY * (1 - chance)


def weakness(features: Features) -> str:
    """A sentence on a classifier that is not to be trusted."""
    accuracy, chance = features.facts["accuracy"], features.facts["chance"]
    return (
        f"the classifier of this data is right on {accuracy:.0%} of the test images, where the "
        f"most frequent class alone gives {chance:.0%}; what it says of samples says little"
    )


def stacked(dataset: Dataset) -> bool:
    """Whether every channel of an image is a digit of its own, as in Stacked MNIST."""
    return dataset.spec.kind == "image" and dataset.spec.classes == CLASSES


def weights_hash(network: nn.Module) -> str:
    """12 hex digits of SHA-256 over names and weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _train(network: Classifier, dataset: Dataset, device: torch.device, progress: Progress) -> None:
    """Adam over at most 60,000 images, in a fixed order; the learning rate falls to 0."""
    x, labels = _examples(network, dataset.train.x, dataset.train.labels)
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for step, rows in enumerate(batch_rows(len(x))):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        logits = network.logits(x[rows].to(device))
        loss = F.cross_entropy(logits.flatten(0, -2), labels[rows].to(device).flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        progress("training the classifier", step + 1, STEPS)
    with torch.no_grad():
        spread = np.ascontiguousarray(dataset.train.x[:: max(1, len(dataset.train) // 2000)])
        hidden = network.hidden(torch.from_numpy(spread).to(device))
    network.scale.copy_(hidden.square().mean().rsqrt())


def batch_rows(n: int) -> Iterator[Tensor]:
    """Rows of STEPS batches: one random order of the examples after another."""
    generator = torch.Generator().manual_seed(0)
    rest = torch.empty(0, dtype=torch.int64)
    for _ in range(STEPS):
        while len(rest) < TRAIN_BATCH:
            rest = torch.cat([rest, torch.randperm(n, generator=generator)])
        yield rest[:TRAIN_BATCH]
        rest = rest[TRAIN_BATCH:]


def _examples(network: Classifier, x: object, labels: object) -> tuple[Tensor, Tensor]:
    """Up to 60,000 images spread over the split, and their classes, by channel where needed."""
    from gentool.train.batches import as_tensor

    images, numbers = as_tensor(x), as_tensor(labels)  # type: ignore[arg-type]
    channels = images.shape[1] if network.per_channel else 1
    step = max(1, -(-len(images) * channels // MOST_IMAGES))
    images, numbers = images[::step], numbers[::step]
    if not network.per_channel:
        return images, numbers
    place = network.classes ** torch.arange(channels - 1, -1, -1)
    return images, numbers.unsqueeze(1) // place % network.classes


@torch.no_grad()
def _accuracy(network: Classifier, dataset: Dataset, device: torch.device) -> tuple[float, float]:
    """Share of test images that get their own label, and that of the most frequent label.

    Of channels, with `per_channel`.
    """
    split = dataset.test if len(dataset.test) and dataset.test.labels is not None else dataset.train
    x, labels = _examples(network, split.x[:10_000], split.labels[:10_000])  # type: ignore[index]
    hits = [
        (network.logits(part.to(device)).argmax(-1).cpu() == wanted).double().flatten()
        for part, wanted in zip(x.split(BATCH), labels.split(BATCH), strict=True)
    ]
    chance = torch.bincount(labels.flatten()).max().item() / labels.numel()
    return torch.cat(hits).mean().item(), chance
