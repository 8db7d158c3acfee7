"""Pictures of a run: fixed-noise samples as a grid, or points over the real ones."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch

from gentool.data.dataset import Dataset
from gentool.model import Model, Scores
from gentool.sampling import draw_samples

IMAGES = 64
POINTS = 2500
LANDSCAPE = 100


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

        real = np.asarray(self.dataset.train.x[:POINTS])
        save_scatter(
            self.samples(POINTS), file, real=real, title=f"step {step}", landscape=self.landscape()
        )

    def landscape(self) -> tuple[np.ndarray, tuple[float, float, float, float]] | None:
        """What the model thinks of every place around 2-D data: (rows, columns) and extent."""
        conditional = self.model.told
        if not isinstance(self.model, Scores) or conditional or self.dataset.spec.size != 2:
            return None
        real = np.asarray(self.dataset.train.x[:POINTS])
        low, high = real.min(axis=0), real.max(axis=0)
        margin = 0.2 * float((high - low).max())
        x, y = (
            torch.linspace(float(a) - margin, float(b) + margin, LANDSCAPE)
            for a, b in zip(low, high, strict=True)
        )
        points = torch.cartesian_prod(y, x).flip(1).to(self.device)
        with torch.inference_mode():
            scores = self.model.score(points).float().cpu().view(LANDSCAPE, LANDSCAPE)
        return scores.numpy(), (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))

    def samples(self, n: int) -> np.ndarray:
        labels = self.model.in_turn(n)
        x = draw_samples(self.model, n, self.device, seed=self.seed, labels=labels)
        return x.numpy()
