"""Stopping politely: Ctrl-C, a scheduler's SIGTERM, a lost terminal's SIGHUP, or --max-time."""

from __future__ import annotations

import re
import signal
import time
from types import FrameType
from typing import Any

from gentool.errors import UserError, printable
from gentool.streams import forget_terminal


class Stopped(Exception):
    """Training ended early, with everything saved.

    Attributes:
        reason: why, in a few words.
        code: the exit status.
    """

    def __init__(self, reason: str, code: int, command: str = "") -> None:
        """`command` is the one to go on with, where there is one."""
        super().__init__(f"{reason}; go on with: {command}" if command else reason)
        self.reason, self.code = reason, code


class StopRequest:
    """Remembers that training should stop; as a context it listens for signals.

    The first signal lets the step finish and the run be saved; a second SIGINT stops at once.
    """

    def __init__(self, max_time: str | None = None) -> None:
        limit = parse_duration(max_time)
        self.deadline = None if limit is None else time.monotonic() + limit
        self.signal: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: training outlives its terminal
            try:
                self._old[number] = signal.signal(number, self._on_signal)
            except ValueError:  # not the main thread: the caller handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            forget_terminal()
        self.signal = number

    def pending(self) -> Stopped | None:
        """Why to stop now, or None."""
        if self.signal is not None:
            return Stopped(f"stopped by {signal.Signals(self.signal).name}", 128 + self.signal)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return Stopped("stopped by --max-time", 0)
        return None


def parse_duration(text: str | None) -> float | None:
    """``90s``, ``30m``, ``2h``, ``1h30m`` or plain seconds, in seconds; raises UserError."""
    if text is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not match:
        raise UserError(f"--max-time is {printable(text)!r}, but it takes a time such as 90s or 2h")
    hours, minutes, seconds = (int(g or 0) for g in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds
