"""Small snapshots of a run's weights, evenly over its training, with ``--keep-history N``.

Each is a model file of its own, so that every verb takes it: `gentool sample
RUN/history/000469.safetensors`. They are the weights as they train, without their moving average.
"""

from __future__ import annotations

import math
import re

from gentool.files import user_errors
from gentool.folder import Folder
from gentool.model import Model
from gentool.weights import Header, model_bytes

FOLDER = "history"
NAME = re.compile(r"([0-9]{6,18})\.safetensors")


class History:
    """Writes about N snapshots, from the first step to the last."""

    def __init__(self, folder: Folder, header: Header, model: Model, count: int) -> None:
        """
        Args:
            folder: the run's.
            count: N; 0 keeps none.
        """
        self.folder, self.header, self.model, self.count = folder, header, model, count
        self.total = self.every = 0

    def begin(self, total: int, step: int) -> None:
        """Training goes from `step` to `total`."""
        self.total = total
        self.every = max(1, math.ceil(total / self.count)) if self.count else 0
        if step == 0:
            self.stepped(0)

    def stepped(self, step: int) -> None:
        """Keep the weights where this step is one of those to keep."""
        if not self.every or (step % self.every and step != self.total):
            return
        weights = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        with (
            user_errors("the history", self.folder.path / FOLDER),
            self.folder.folder(FOLDER, make=True) as history,
        ):
            history.write(f"{step:06d}.safetensors", model_bytes(weights, self.header))


def steps_of(folder: Folder) -> dict[int, str]:
    """The snapshots of a run's open folder: their files' names, by step."""
    if not folder.has(FOLDER):
        return {}
    with folder.folder(FOLDER) as history:
        found = {int(m[1]): name for name in history.names() if (m := NAME.fullmatch(name))}
    return dict(sorted(found.items()))
