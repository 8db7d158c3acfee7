"""A model's own scalars on data that it is not trained on."""

from __future__ import annotations

import torch

from gentool.model import Evaluates, Step
from gentool.noise import Noise
from gentool.train.batches import BatchLoader
from gentool.train.distributed import World
from gentool.train.means import accumulator_dtype
from gentool.train.player import autocast
from gentool.train.settings import TrainSettings


def evaluate_test(
    model: Evaluates, loader: BatchLoader, settings: TrainSettings, world: World, progress: float
) -> dict[str, float]:
    """Means over a whole split, shared out over the processes, always with the same noise.

    Args:
        model: in eval mode.
        progress: how much of the training is done, in [0, 1], for warm-ups.
    """
    device = world.device
    # Where there are fewer examples than processes, each looks at all of them.
    mine = world.share(loader.n) if loader.n >= world.size else slice(0, loader.n)
    done = torch.tensor(progress, device=device)
    zero = torch.zeros((), dtype=torch.int64, device=device)
    ones = torch.ones((), device=device)
    names: list[str] = []
    sums = torch.zeros((), dtype=accumulator_dtype(device), device=device)
    with torch.inference_mode(), autocast(device, settings.precision):
        for start in range(mine.start, mine.stop, loader.batch_size):
            batch = loader.in_order(start, min(mine.stop, start + loader.batch_size))
            noise = Noise(settings.seed, "test", zero, device, row_offset=start)
            scalars = model.evaluate(batch, Step(noise, done))
            names = list(scalars)
            values = torch.stack([v.to(sums.dtype) for v in [*scalars.values(), ones]])
            sums = sums + values * len(batch.x)
    sums = sums.clone()  # out of inference mode, where all_reduce may write to it
    world.sum_([sums])
    *means, _ = (sums / sums[-1]).tolist()
    return dict(zip(names, means, strict=True))
