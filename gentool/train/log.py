"""metrics.jsonl: one JSON object a line, appended, and cut back to a checkpoint on resume."""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from typing import Any

from gentool.errors import printable
from gentool.files import user_errors
from gentool.folder import Folder

NAME = "metrics.jsonl"
LONGEST_ROW = 2**20
"""Bytes of a row; longer ones are none of ours."""


class MetricsLog:
    """Appends rows; `offset` is the length a checkpoint remembers."""

    def __init__(self, folder: Folder, offset: int = 0) -> None:
        """Open the log of a run and drop whatever was written after `offset`."""
        self.path = folder.path / NAME
        with user_errors("the metrics", self.path):
            self._descriptor = folder.open_own(NAME)
            self.offset = self._cut(offset)
            os.ftruncate(self._descriptor, self.offset)

    def _cut(self, wanted: int) -> int:
        """`wanted`, or the end of the last whole row before it where the file is another."""
        there = min(wanted, os.fstat(self._descriptor).st_size)
        start = max(0, there - LONGEST_ROW)
        tail = os.pread(self._descriptor, there - start, start)
        end = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
        if end < wanted:
            warnings.warn(
                f"{printable(str(self.path))} holds {end} bytes of whole rows, but the checkpoint "
                f"was made at {wanted}: rows are missing, and training goes on after the last one",
                stacklevel=3,
            )
        return end

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; NaN and infinity, which JSON lacks, become null."""
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        content = json.dumps(clean, ensure_ascii=False).encode() + b"\n"
        with user_errors("the metrics", self.path):
            while content:
                written = os.pwrite(self._descriptor, content, self.offset)
                self.offset += written
                content = content[written:]

    def sync(self) -> None:
        """Make the rows so far survive a power cut."""
        with user_errors("the metrics", self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
