"""Pictures of a run: fixed-noise samples as a grid, or points over the real ones."""

from __future__ import annotations

import numpy as np
import torch

from gentool.data.dataset import Dataset
from gentool.model import Model
from gentool.runs import Run
from gentool.sampling import draw_samples

IMAGES = 64
POINTS = 2500


class Pictures:
    """Draws the same latents at every call, so that pictures can be compared."""

    def __init__(
        self, model: Model, dataset: Dataset, run: Run, seed: int, device: torch.device
    ) -> None:
        self.model, self.dataset, self.run = model, dataset, run
        self.seed, self.device = seed, device

    def draw(self, step: int) -> None:
        """Write samples/<step>.png."""
        path = self.run.samples / f"{step:06d}.png"
        if self.dataset.spec.kind == "image":
            from gentool.render.grid import save_grid, to_pixels

            save_grid(to_pixels(self.samples(IMAGES)), path)
            return
        from gentool.render.scatter import save_scatter

        real = np.asarray(self.dataset.train.x[:POINTS])
        save_scatter(self.samples(POINTS), path, real=real, title=f"step {step}")

    def samples(self, n: int) -> np.ndarray:
        labels = None
        if getattr(self.model, "classes", 0):
            labels = torch.arange(n) % len(self.dataset.spec.classes)
        x = draw_samples(self.model, n, self.device, seed=self.seed, labels=labels)
        return x.numpy()
