"""Connections that stall are closed: half a request, or an answer that nobody reads.

uvicorn ends idle connections after an answer, but waits for ever for a first request, and for a
reader that does not read. A check every few seconds closes both, so that a few hundred stalled
connections cannot keep others out for long.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

EVERY = 5.0
"""Seconds between two looks at a connection."""

MOST = 256
"""Open connections; those beyond are closed at once."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to its patience."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen: tuple[Any, int] = (None, -1)
        if len(self.connections) > MOST:
            transport.abort()
            return
        # asyncio asks for this only of sockets that name their protocol. Without it an answer waits
        # 40 ms for the browser to acknowledge its head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=2**18)
        self._check = self.loop.call_later(EVERY, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_check"):
            self._check.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close what waits for a request, or has not moved a byte of its answer since last time."""
        unsent = self.transport.get_write_buffer_size()
        answering = self.cycle is not None and not self.cycle.response_complete
        if unsent and self._seen == (self.cycle, unsent):
            self.transport.abort()
            return
        if not answering and not unsent and self._seen == (self.cycle, 0):
            self.transport.abort()
            return
        self._seen = (self.cycle, unsent)
        self._check = self.loop.call_later(EVERY, self._look)
