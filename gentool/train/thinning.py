"""A film of training that keeps a bounded number of pictures, however long the training is.

One more than `MOST` pictures, and every second one goes; from then on they come at twice the
spacing. Nothing is remembered beside the pictures themselves, so a resumed run goes on alike.
"""

from __future__ import annotations

import re
from itertools import pairwise

from gentool.folder import Folder

PICTURE = re.compile(r"([0-9]{6,18})\.png")
MOST = 64


def pictures_in(samples: Folder) -> list[str]:
    """The names of the sample pictures in a folder, by step; they may outgrow their zeros."""
    return [name for _, name in sorted(_by_step(samples))]


def is_due(samples: Folder, step: int) -> bool:
    """Whether a picture of this step keeps the spacing of those that are there."""
    steps = sorted(number for number, _ in _by_step(samples) if number < step)
    spacing = min((b - a for a, b in pairwise(steps)), default=0)
    return not steps or step - steps[-1] >= spacing


def thin(samples: Folder) -> None:
    """Remove every second picture while there are more than `MOST`; the newest stays."""
    names = pictures_in(samples)
    while len(names) > MOST:
        kept = [*names[:-1:2], names[-1]]
        for name in set(names) - set(kept):
            samples.remove(name)
        names = kept


def _by_step(samples: Folder) -> list[tuple[int, str]]:
    return [(int(m[1]), name) for name in samples.names() if (m := PICTURE.fullmatch(name))]
