"""Do class-conditional models draw the class they are asked for?

    gentool train --config dcgan-mnist --conditional --out RUN
    python benchmarks/conditional.py RUN … --data mnist

A small convolutional classifier is trained on the real training images, its accuracy on the real
test images is shown, and then how often it agrees with the class that was asked for, over
`--each` samples of every class.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gentool
from gentool.data import DataOptions, load

RESULTS = Path(__file__).parent / "results" / "conditional.json"


def images(x: Any) -> Tensor:
    return torch.tensor(x).float() / 255


def train_classifier(x: Any, labels: Any, classes: int, epochs: int, seed: int) -> nn.Module:
    """Two convolutions and a linear layer, Adam 1e-3, batches of 128."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(x.shape[1], 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
    net(images(x[:1]))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    target = torch.from_numpy(labels)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(images(x[rows.numpy()])), target[rows]).backward()
            optimizer.step()
    return net


@torch.inference_mode()
def predict(net: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([net(part).argmax(1) for part in x.split(500)])


def agreement(net: nn.Module, run: Path, each: int, seed: int) -> dict[str, Any]:
    """How often the classifier sees the class that was asked for, over all and by class."""
    loaded = gentool.load(run)
    classes = len(loaded.header.data.classes)
    labels = torch.arange(classes).repeat_interleave(each)
    same = predict(net, loaded.sample(len(labels), seed=seed, labels=labels)) == labels
    by_class = same.view(classes, each).float().mean(1)
    return {
        "model": loaded.header.model,
        "agreement": round(same.float().mean().item(), 4),
        "lowest_class": round(by_class.min().item(), 4),
        "samples": len(labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--each", type=int, default=1000, help="samples of every class")
    parser.add_argument("--epochs", type=int, default=4, help="of the classifier")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = load(DataOptions(data=options.data))
    classes = len(data.spec.classes)
    net = train_classifier(
        data.train.x, data.train.labels, classes, options.epochs, options.seed
    ).eval()
    right = predict(net, images(data.test.x)) == torch.from_numpy(data.test.labels)
    accuracy = round(right.float().mean().item(), 4)
    print(f"the classifier is right on {accuracy:.2%} of {len(right)} real test images")
    rows = [agreement(net, run, options.each, options.seed) for run in options.runs]
    for row in rows:
        print(
            f"{row['model']:<8} agrees {row['agreement']:.2%}, worst class "
            f"{row['lowest_class']:.2%}, {row['samples']} samples"
        )
    options.json.parent.mkdir(exist_ok=True)
    result = {"torch": torch.__version__, "classifier_accuracy": accuracy, "models": rows}
    options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
