"""Samples that show themselves in a notebook, and are tensors everywhere else."""

from __future__ import annotations

import io

from torch import Tensor

MOST = 64
"""Images that a notebook shows of many."""


class Samples(Tensor):
    """A tensor of examples that a notebook draws: images as a grid, points as a plot.

    Whatever is computed with it is one too; what has no shape of examples is shown as numbers.
    """

    def _repr_png_(self) -> bytes | None:
        x = self.detach().as_subclass(Tensor).float().cpu().numpy()
        if x.ndim == 3 and x.shape[0] in (1, 3):
            x = x[None]
        if not x.size or x.ndim not in (2, 4) or (x.ndim == 4 and x.shape[1] not in (1, 3)):
            return None
        picture = io.BytesIO()
        if x.ndim == 4:
            from gentool.render.grid import grid_image, to_pixels

            grid_image(to_pixels(x[:MOST])).save(picture, format="PNG")
        else:
            from gentool.render.scatter import draw_scatter, print_png

            print_png(draw_scatter(x), picture)
        return picture.getvalue()
