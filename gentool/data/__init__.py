"""Data sources, turned into uint8 images or float32 points. numpy only, never torch.

>>> from gentool.data import load
>>> data = load(DataOptions(data="glyphs:1000"))
>>> data.train.x.shape
(1000, 1, 28, 28)

Importing this package imports no numpy; loading does.
"""

from __future__ import annotations

from gentool.console import Progress
from gentool.data.dataset import BadFile, Dataset, Report, Split
from gentool.data.options import DataOptions
from gentool.data.registry import SourceInfo, register

__all__ = [
    "BadFile",
    "DataOptions",
    "Dataset",
    "Progress",
    "Report",
    "SourceInfo",
    "Split",
    "load",
    "register",
]


def load(options: DataOptions | None = None, *, progress: Progress | None = None) -> Dataset:
    """Load the data that the options name.

    Args:
        options: the source and how to read it; default: the built-in glyphs.
        progress: called as progress(what, done, total) during long work, from this thread.

    Raises:
        UserError: for whatever the user can mend: a missing path, a broken file, mixed sizes.
    """
    from gentool.data.loading import load as load_now

    return load_now(options or DataOptions(), progress or (lambda what, done, total: None))
