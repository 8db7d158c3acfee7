"""What a model thinks of every place around points, on a scale that stays the same in a run."""

from __future__ import annotations

import math

import numpy as np
import torch

from gentool.model import Model, Scores
from gentool.render.scatter import Landscape, frame_of
from gentool.scoring import ScoreView

CELLS = 120
"""Values along each axis of the plane; on a line there are more."""


def landscape(model: Model, real: np.ndarray, device: torch.device) -> Landscape | None:
    """The scores around 1-D or 2-D data (M, D); None where a model has none, or is conditional.

    Args:
        model: on `device`, in eval mode.
        real: what the picture is drawn around.
    """
    if not isinstance(model, Scores) or model.told or real.shape[1] > 2:
        return None
    explain = getattr(model, "score_view", None)
    view: ScoreView = ScoreView() if explain is None else explain()
    frame = frame_of(real)
    axes = [torch.linspace(low, high, CELLS if len(frame) == 2 else 400) for low, high in frame]
    if len(axes) == 2:
        x, y = axes
        places = torch.cartesian_prod(y, x).flip(1)
    else:
        places = axes[0].unsqueeze(1)

    def shown(points: torch.Tensor) -> torch.Tensor:
        return view.of(model.score(points.to(device))).double().cpu()

    with torch.inference_mode():
        values = shown(places)
        if view.centred:
            values = values - shown(torch.from_numpy(np.array(real, np.float32))).mean()
    field = values.view([len(a) for a in reversed(axes)]).numpy()
    return Landscape(field, frame, view.label, scale_of(view, frame, field), view.middle)


def scale_of(
    view: ScoreView, frame: tuple[tuple[float, float], ...], field: np.ndarray
) -> tuple[float, float]:
    """The ends of the colours. They depend on the picture only where nothing else is known, and
    then in powers of two, so that neighbouring pictures of a run mostly agree."""
    if view.range is not None:
        return view.range
    if view.slope is not None:
        reach = view.slope * math.hypot(*(high - low for low, high in frame)) / 2
    else:
        largest = float(np.abs(field).max())
        reach = 2.0 ** math.ceil(math.log2(largest)) if 0 < largest < math.inf else 1.0
    return -reach, reach
