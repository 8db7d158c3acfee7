"""How a model's opinion of an example, its score, is to be shown to people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ScoreView:
    """What `gentool.model.Scores.score` means, for pictures. A model may have a method
    ``score_view()`` that returns one; without it scores are shown as they are.

    Attributes:
        label: what is shown, such as ``D(x)``.
        shown: from scores (N,) to what is shown, (N,); None: the scores.
        range: the least and the most that can be shown.
        middle: a value whose contour is drawn, such as the ½ where D cannot decide.
        centred: only differences mean anything, so the mean over real data is taken off.
        slope: where there is no range: the largest slope, in units of the data, that the model
            aims at, so that the range of a picture follows from its width.
    """

    label: str = "score"
    shown: Callable[[Tensor], Tensor] | None = None
    range: tuple[float, float] | None = None
    middle: float | None = None
    centred: bool = False
    slope: float | None = None

    def of(self, scores: Tensor) -> Tensor:
        """What is shown of scores (N,), but for the centring."""
        return scores if self.shown is None else self.shown(scores)
