"""metrics.jsonl: one JSON object a line, appended, and cut back to a checkpoint on resume."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from gentool.files import user_errors


class MetricsLog:
    """Appends rows; `offset` is the length a checkpoint remembers."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Open the log and drop whatever was written after `offset`."""
        self.path = path
        with user_errors("the metrics", path):
            self._file = path.open("ab")
            self._file.truncate(min(offset, self._file.seek(0, os.SEEK_END)))
            self._file.seek(0, os.SEEK_END)

    @property
    def offset(self) -> int:
        return self._file.tell()

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; NaN and infinity, which JSON lacks, become null."""
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        with user_errors("the metrics", self.path):
            self._file.write(json.dumps(clean, ensure_ascii=False).encode() + b"\n")
            self._file.flush()

    def sync(self) -> None:
        """Make the rows so far survive a power cut."""
        with user_errors("the metrics", self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
