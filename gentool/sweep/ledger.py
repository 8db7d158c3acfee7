"""How the runs of a sweep ended: a line each in results.jsonl, and failures in a folder apart."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gentool.errors import printable
from gentool.folder import Folder

FILE, FAILED = "results.jsonl", "failed"
MOST_BYTES = 2**26

State = Literal["finished", "failed"]


@dataclass
class Ledger:
    """The results of a sweep whose folder is held open and locked."""

    folder: Folder
    states: dict[str, State] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Folder) -> Ledger:
        """What is written so far. A line that a crash tore is left out."""
        ledger = cls(folder)
        content = folder.read(FILE, MOST_BYTES) if folder.has(FILE) else b""
        for line in content.splitlines():
            row = _row(line)
            if row is not None:
                ledger._note(row)
        return ledger

    def _note(self, row: Mapping[str, Any]) -> None:
        name, state = row["run"], row["state"]
        self.states[name] = state
        self.errors.pop(name, None)
        if state == "failed":
            self.errors[name] = printable(str(row.get("error", "")), 500)

    def finished(self, name: str) -> None:
        """A run came to its end."""
        self._append({"run": name, "state": "finished"})

    def failed(self, name: str, error: str) -> None:
        """A run ended with an error: its folder goes where failures are kept."""
        if self.folder.has(name):
            with self.folder.folder(FAILED, make=True) as apart:
                taken = set(apart.names())
                tries = (name if i == 1 else f"{name},{i}" for i in itertools.count(1))
                new = next(n for n in tries if n not in taken)
                here, there = self.folder.descriptor, apart.descriptor
                os.rename(name, new, src_dir_fd=here, dst_dir_fd=there)
        self._append({"run": name, "state": "failed", "error": printable(error, 500)})

    def _append(self, row: dict[str, Any]) -> None:
        descriptor = self.folder.open_own(FILE)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            line = json.dumps(row) + "\n"
            os.write(descriptor, (b"\n" if torn else b"") + line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._note(row)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("run"), str):
        return None
    return row if row.get("state") in ("finished", "failed") else None
