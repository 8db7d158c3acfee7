"""stdout and stderr of a program that should outlive both.

stderr carries progress, and hours of training are worth more: what cannot be written there, be it
for a full disk, is dropped. stdout carries results: that one could not be written is told at the
end, by a sentence and an exit code. A terminal that went away silences both.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESULTS = "standard output"
"""What an OSError of stdout names as its file."""


class LastingStream:
    """A stream that fails only where something is lost: `results` says whether that is so.

    Attributes:
        lost: why results could not be written, to be told once, at the end: on the way there
            others may catch the error, or meet it a second time.
    """

    def __init__(self, stream: Any, results: bool) -> None:
        self._stream, self._results = stream, results
        self._terminal = stream.isatty()
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        with self._guarded():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._terminal and error.errno == errno.EIO:  # what one that hung up answers
                forget_terminal()
            elif self._results and error.errno == errno.EPIPE:
                raise  # `gentool models | head` has had enough
            elif self._results:
                self.lost = OSError(error.errno, error.strerror, RESULTS)
                raise self.lost from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_terminal() -> None:
    """Put a `LastingStream` before stdout and stderr.

    A stream that the shell closed (``>&-``) becomes one to nowhere, on the free descriptor.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or Path(os.devnull).open("w")  # noqa: SIM115  (for good)
        if not isinstance(stream, LastingStream):
            stream = LastingStream(stream, results=name == "stdout")
        setattr(sys, name, stream)


def forget_terminal() -> None:
    """Send what would still be written to the terminal nowhere."""
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            _silence(number)


def flush_all(complain: Callable[[OSError], None]) -> bool:
    """Write out what is left, so that nothing fails when Python ends.

    Returns:
        whether stdout has everything; if not, `complain` has been called with the reason. A reader
        that closed a pipe early has all that it wants.
    """
    lost = getattr(sys.stdout, "lost", None)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
            _raw_flush(stream)
        except OSError as error:
            _silence(number)
            if number == 1 and error.errno != errno.EPIPE:
                lost = OSError(error.errno, error.strerror, RESULTS)
    if lost is not None:
        complain(lost)
    return lost is None


def _raw_flush(stream: Any) -> None:
    """Flush without the guard: what is dropped must not be left for the end either."""
    getattr(stream, "_stream", stream).flush()


def _silence(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


_handlers: list[Any] = []  # the C library keeps their addresses


def explain_bus_errors() -> None:
    """End with a sentence where a mapped file was cut, or its disk fails, under the program.

    The system answers the access itself with a signal, SIGBUS, and a handler written in Python
    would only run after it, that is never: this one is called by the C library at once.
    """
    import ctypes

    def end(number: int) -> None:
        os.write(2, BUS_ERROR.encode())
        os._exit(2)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    try:
        set_handler = ctypes.CDLL(None).signal
    except (OSError, AttributeError):  # no C library to be had by that way
        return
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, type(handler)), ctypes.c_void_p
    set_handler(signal.SIGBUS, handler)
    _handlers.append(handler)


BUS_ERROR = (
    "gentool: a file that was in use has been cut short, or its disk fails (SIGBUS); nothing that "
    "was saved is lost: start again, and decoded data will be made anew\n"
)
