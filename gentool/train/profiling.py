"""``--profile``: where the time of a step goes, as a table and as a trace to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gentool.files import user_errors
from gentool.folder import Folder

SKIP, STEPS = 10, 20
ROWS = 12


class Profile:
    """Traces steps 11 to 30 of a training, then writes ``profile.json`` and keeps a table."""

    def __init__(self, folder: Folder | None) -> None:
        """`folder` is where the trace goes; None makes every call free."""
        self.folder, self.table = folder, ""
        self.graphs: dict[str, str] = {}  # how each player's updates ran
        self._count = 0
        self._profiler: profile | None = None

    def step(self) -> None:
        """Count a step; start and stop the trace at its ends."""
        if self.folder is None:
            return
        self._count += 1
        if self._count == SKIP:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=activities)
            self._profiler.start()
        elif self._count == SKIP + STEPS and self._profiler is not None:
            self._profiler.stop()
            with tempfile.TemporaryDirectory(prefix="gentool-profile-") as aside:
                trace = Path(aside) / "profile.json"  # torch writes to a path alone
                self._profiler.export_chrome_trace(str(trace))
                with user_errors("the profile", self.folder.path / trace.name):
                    self.folder.write(trace.name, trace.read_bytes())
            self.table = self._summary(self._profiler)
            self._profiler = None

    @staticmethod
    def _summary(done: profile) -> str:
        """The operations that take most, with their share of a step."""
        rows = done.key_averages()
        cuda = any(r.self_device_time_total for r in rows)

        def cost(row: object) -> float:
            return float(getattr(row, "self_device_time_total" if cuda else "self_cpu_time_total"))

        total = sum(cost(r) for r in rows) or 1.0
        where = "GPU" if cuda else "CPU"
        lines = [f"{where} time a step: {total / STEPS / 1000:.2f} ms over {STEPS} steps"]
        for row in sorted(rows, key=cost, reverse=True)[:ROWS]:
            lines.append(
                f"{cost(row) / total:6.1%} {cost(row) / STEPS:9.0f} µs "
                f"{row.count / STEPS:7.1f} calls  {row.key}"
            )
        return "\n".join(lines)
