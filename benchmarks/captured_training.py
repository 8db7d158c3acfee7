"""Does training run as CUDA graphs, to the same weights, and how much faster?

    python benchmarks/captured_training.py [--device cuda] [--steps 45] [--json FILE]

Each case trains twice from one start, with the players' updates captured and without. The exit
status is 1 where a player was never captured, or where the weights differ in a single bit.
Milliseconds a step are those after the capture.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from train_speed import synchronize, trainer

from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset
from gentool.train.graph import WARM_UP, CapturedUpdate, Replayable

Capture = Callable[[Callable[[], None]], Replayable]

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vae", {}),
    ("vae", {"clip_grad": 1.0}),
    ("vae", {"precision": "bf16"}),
    ("gan", {"dropout": 0.3}),
    ("gan", {"optimizer": "sgd"}),
    ("dcgan", {}),
    ("dcgan", {"spectral_norm": True, "conditional": True}),
    ("wgan", {}),
    ("wgan", {"lipschitz": "clip"}),
)


@dataclass(frozen=True)
class Comparison:
    """One case: how each player ran, how far the weights are apart, and milliseconds a step."""

    model: str
    changes: dict[str, Any]
    states: dict[str, str]
    largest_difference: float
    ms_captured: float
    ms_uncaptured: float

    @property
    def passed(self) -> bool:
        return self.largest_difference == 0 and set(self.states.values()) == {"captured"}


def compare(
    name: str,
    changes: dict[str, Any],
    dataset: Dataset,
    device: torch.device,
    steps: int = 45,
    capture: Capture | None = None,
) -> Comparison:
    """Train both ways. `capture` replaces what a GPU has, so that the rest can be tried without."""
    weights, ms = [], []
    states: dict[str, str] = {}
    for captured in (True, False):
        torch.manual_seed(0)
        made = trainer(name, dataset, device, seed=3, **changes)
        for state in made.players:
            if not captured:
                state.captured = None
            elif capture is not None:
                state.captured = CapturedUpdate(state.update_captured, capture)
        # A round is the first player's steps and then everybody else's turn.
        warm = (WARM_UP + 2) * made.players[0].player.steps
        for _ in range(warm):
            made.take_step()
        synchronize(device)
        began = time.perf_counter()
        for _ in range(warm, max(steps, warm + 1)):
            made.take_step()
        synchronize(device)
        ms.append(1e3 * (time.perf_counter() - began) / max(steps - warm, 1))
        weights.append({k: v.detach().double().cpu() for k, v in made.model.state_dict().items()})
        if captured:
            states = {
                s.player.name: s.captured.state if s.captured else "not capturable"
                for s in made.players
            }
    worst = max(float((weights[0][k] - weights[1][k]).abs().max()) for k in weights[0])
    return Comparison(name, changes, states, worst, *(round(x, 4) for x in ms))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=45)
    parser.add_argument("--json", type=Path, help="also write the results here, as they come")
    given = parser.parse_args()
    device, results = torch.device(given.device), []
    dataset = load(DataOptions(data="glyphs:2000"))
    for name, changes in CASES:
        found = compare(name, changes, dataset, device, given.steps)
        results.append({**dataclasses.asdict(found), "passed": found.passed})
        print(json.dumps(results[-1]), flush=True)
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(not all(r["passed"] for r in results))


if __name__ == "__main__":
    main()
