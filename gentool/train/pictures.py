"""Pictures of a run: fixed-noise samples as a grid, or points over the real ones."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch

from gentool.data.dataset import Dataset
from gentool.model import Model
from gentool.sampling import draw_samples

IMAGES = 64
POINTS = 2500


class Pictures:
    """Draws the same latents at every call, so that pictures can be compared."""

    def __init__(self, model: Model, dataset: Dataset, seed: int, device: torch.device) -> None:
        self.model, self.dataset = model, dataset
        self.seed, self.device = seed, device

    def draw(self, step: int, file: BinaryIO) -> None:
        """Write the picture of a step as a PNG."""
        if self.dataset.spec.kind == "image":
            from gentool.render.grid import save_grid, to_pixels

            save_grid(to_pixels(self.samples(IMAGES)), file)
            return
        from gentool.render.scatter import save_scatter
        from gentool.train.landscape import landscape

        real = np.asarray(self.dataset.train.x[:POINTS])
        scores = landscape(self.model, real, self.device)
        save_scatter(self.samples(POINTS), file, real=real, title=f"step {step}", landscape=scores)

    def samples(self, n: int) -> np.ndarray:
        labels = self.model.in_turn(n)
        x = draw_samples(self.model, n, self.device, seed=self.seed, labels=labels)
        return x.numpy()
