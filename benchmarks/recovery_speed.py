"""Inverting random measurements: all images and restarts in one batch, beside a plain loop.

    python benchmarks/recovery_speed.py RUN --images 100 --plain 2

The plain loop is what one writes first: for each image, for each restart, 1,000 steps of
torch.optim.Adam on one z. It is timed on `--plain` images and its time multiplied up; both minimise
‖y − A G(z)‖² + 0.1 ‖z‖² of the same y and end with the restart that fits y best.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch import Tensor

import gentool
from gentool.console import Progress
from gentool.latent.locate import load_like
from gentool.latent.prior import draw
from gentool.model import Model
from gentool.restore.operators.measure import Measure
from gentool.restore.recovery import PLAN, error, measured, recover


def plainly(model: Model, operator: Measure, y: Tensor) -> Tensor:
    """One z at a time: (N, *shape)."""
    best = []
    for i in range(len(y)):
        candidates = []
        for restart in range(PLAN.restarts):
            z = draw(model, 1, restart).clone().requires_grad_()
            adam = torch.optim.Adam([z], lr=PLAN.lr)
            for _ in range(PLAN.steps):
                adam.zero_grad()
                fit = (operator(model.sample(z)) - y[i]).square().sum()
                (fit + PLAN.prior_weight * z.square().sum()).backward()
                adam.step()
            with torch.no_grad():
                x = model.sample(z)
                candidates.append((float((operator(x) - y[i]).square().sum()), x[0]))
        best.append(min(candidates, key=lambda pair: pair[0])[1])
    return torch.stack(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--plain", type=int, default=2, help="images of the plain loop")
    parser.add_argument("--m", type=int, default=100, help="measurements an image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    silent: Progress = lambda what, done, total: None  # noqa: E731
    loaded = gentool.load(arguments.run)
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(False)
    data = load_like(loaded.model.data, None, loaded.data_options, silent)
    x = torch.from_numpy(data.test.x[: arguments.images].copy()).float() / 255
    operator, y = measured(x, arguments.m)

    began = time.perf_counter()
    ours = recover(loaded.model, operator, y)
    batched = time.perf_counter() - began
    few = slice(0, arguments.plain)
    began = time.perf_counter()
    plain = plainly(loaded.model, operator, y[few])
    alone = (time.perf_counter() - began) * arguments.images / arguments.plain
    print(
        json.dumps(
            {
                "images": arguments.images,
                "measurements": arguments.m,
                "threads": arguments.threads,
                "seconds": round(batched, 2),
                "plain_seconds": round(alone, 1),
                "times": round(alone / batched, 1),
                "error": error(ours, x),
                "error_of_the_first": error(ours[few], x[few]),
                "plain_error_of_the_first": error(plain, x[few]),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
