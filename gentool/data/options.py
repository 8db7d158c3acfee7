"""The data options of every verb that reads data; stdlib only, so that `--help` stays instant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from gentool import options
from gentool.cachefolder import cache_folder
from gentool.console import say
from gentool.errors import UserError
from gentool.spec import Option

Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", "grey", "rgb"]
BadFilePolicy = Literal["fail", "skip"]

MAX_SIDE = 4096
"""The longest side, in pixels, that `--size` accepts."""


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how it becomes arrays. Each field is an option of `gentool train`."""

    data: Annotated[str, Option("a source by name (see gentool data list), or a path")] = "glyphs"
    test_data: Annotated[
        str | None, Option("another source for the test split; default: DATA's own, or a holdout")
    ] = None
    holdout: Annotated[
        float,
        Option("share held out for the test split where the source has none", min=0, below=1),
    ] = 0.1
    size: Annotated[str | None, Option("resize images to N×N pixels, or to HxW such as 64x48")] = (
        None
    )
    fit: Annotated[
        Fit, Option("how --size treats another shape: cut the edges, add black bars, or distort")
    ] = "crop"
    channels: Annotated[
        Channels, Option("auto gives one channel where every image is grey, else three")
    ] = "auto"
    on_bad_file: Annotated[
        BadFilePolicy, Option("stop at broken images, or leave them out and say how many")
    ] = "fail"
    labels: Annotated[
        str, Option("auto: label files beside the images; none; or a FILE (see docs/data.md)")
    ] = "auto"
    limit: Annotated[
        int | None, Option("use N training examples only, picked by a fixed shuffle", min=1)
    ] = None
    cache: Annotated[
        str | None,
        Option("folder for decoded data and downloads; default $GENTOOL_CACHE or ~/.cache/gentool"),
    ] = None

    @classmethod
    def of_run(cls, recorded: Any, cache: str | None, where: str) -> DataOptions:
        """The options that a run recorded, but with the cache that its user chooses now.

        A run may come from a stranger, and the cache is where gentool writes and removes.
        Raises UserError for what is no such record.
        """
        if not isinstance(recorded, Mapping):
            raise UserError(f"the data options {where} are no table")
        asked: DataOptions = options.build(cls, recorded, where)
        if asked.cache is not None and cache is None:
            say(f"note: the run was trained with --cache {asked.cache}; to use it again, say so")
        return replace(asked, cache=cache)

    def height_width(self) -> tuple[int, int] | None:
        """`size` as (H, W); None where the images keep theirs. Raises UserError."""
        if self.size is None:
            return None
        match = re.fullmatch(r"(\d{1,6})(?:[xX×](\d{1,6}))?", self.size.strip())
        if match is None:
            raise UserError(f"--size {self.size!r:.40} is neither N nor HxW; try 64 or 64x48")
        height = int(match[1])
        width = int(match[2]) if match[2] else height
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UserError(f"--size {self.size!r:.40} is outside 1 to {MAX_SIDE} pixels a side")
        return height, width

    def cache_folder(self) -> Path:
        """Where decoded data and downloads lie; it need not exist yet."""
        return cache_folder(self.cache)
