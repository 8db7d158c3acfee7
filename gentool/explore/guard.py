"""Who may ask, and how much may be sent.

Any page that a browser has open can send requests to a local server, and with a name of its own
that resolves to 127.0.0.1 it can read the answers, too (DNS rebinding). So the Host must be an
address or a name that this machine is known by, the Origin must be the server's own, and whatever
computes or reads wants the token, in a header that no other page can set. The page itself is
public: it holds nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-gentool-token"
PATIENCE = 20.0
"""Seconds for a body to arrive."""

MOST_BODY, MOST_UPLOAD = 2**20, 2**24
MOST_AT_ONCE = 2**26
"""Bytes: of a question, of one that brings a file, and of all that are being received."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class _TooMuchError(Exception):
    pass


class Guard:
    """ASGI middleware in front of everything; each refusal is a short sentence."""

    def __init__(
        self, app: ASGIApp, token: str, names: Iterable[str], uploads: Iterable[str] = ()
    ) -> None:
        """
        Args:
            names: what this server may be called beside addresses and ``localhost``.
            uploads: addresses that take a file.
        """
        self.uploads = frozenset(uploads)
        self.app, self.token = app, token
        self.names = {"localhost", *(name.lower() for name in names)}
        self.receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # there are no WebSockets, and nothing to start or end
        send = _with_headers(send)
        headers = Headers(scope=scope)
        refused = self.refusal(scope, headers)
        if refused is not None:
            code, reason = refused
            await PlainTextResponse(reason, code, {"connection": "close"})(scope, receive, send)
            return
        try:
            most = MOST_UPLOAD if scope["path"] in self.uploads else MOST_BODY
            body = await self.body(headers, receive, most)
        except _TooMuchError as error:
            response = PlainTextResponse(str(error), 413, {"connection": "close"})
            await response(scope, receive, send)
            return
        except (TimeoutError, ConnectionError):
            response = PlainTextResponse("it did not arrive whole", 400, {"connection": "close"})
            await response(scope, receive, send)
            return
        await self.app(scope, _once(body, receive), send)

    def refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """The status and the reason to send a request away; None lets it pass."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self.knows(host):
            return 403, "this server does not go by that name"
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "another site may not ask this server"
        if scope["path"].startswith("/api/"):
            given = headers.get(TOKEN, "").encode("latin-1")
            if not secrets.compare_digest(given, self.token.encode()):
                return 403, "the token is missing or wrong; open the address that was printed"
            if scope["method"] != "POST":
                return 405, "questions are asked by POST"
        elif scope["method"] not in ("GET", "HEAD"):
            return 405, "pages are fetched by GET"
        return None

    def knows(self, host: str) -> bool:
        """Whether a Host header is an address, or a name that this server goes by.

        A rebinding page comes with its own name: no name in an attacker's hand is an address.
        """
        name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else (
            host.rpartition(":")[0] if ":" in host else host
        )  # fmt: skip
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name.lower() in self.names

    async def body(self, headers: Headers, receive: Receive, most: int) -> bytes:
        """The whole body, within bounds of bytes and time."""
        announced = headers.get("content-length", "0")
        if not announced.isascii() or not announced.isdecimal() or int(announced[:12]) > most:
            raise _TooMuchError(f"more than {most:,} bytes are not taken")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    part = message.get("body", b"")
                    size += len(part)
                    self.receiving += len(part)
                    if size > most or self.receiving > MOST_AT_ONCE:
                        raise _TooMuchError(f"more than {most:,} bytes are not taken")
                    chunks.append(part)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        finally:
            self.receiving -= size


def _once(body: bytes, receive: Receive) -> Receive:
    """A receive() that gives the body, then whatever the connection says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _with_headers(send: Send) -> Send:
    extra = [(k.encode(), v.encode()) for k, v in HEADERS.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return sending
