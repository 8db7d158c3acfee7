"""The local server: the page, and one address a function of a tab."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gentool.errors import UserError, printable
from gentool.explore import wire
from gentool.explore.connections import PatientProtocol
from gentool.explore.guard import Guard
from gentool.explore.session import Session, Subject
from gentool.explore.tabs import TABS, fitting
from gentool.explore.tabs.tab import Function
from gentool.explore.worker import BusyError, Job, SupersededError, Worker

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
FRAMES = "application/octet-stream"


class Explorer:
    """A session on a port of this machine; `run` serves it until Ctrl-C, `stop` ends it."""

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0) -> None:
        """Binds the port; raises UserError where that cannot be done."""
        self.session, self.worker = session, Worker()
        for subject in session.subjects:
            subject.pause = self.worker.breathe
            subject.report = lambda answer: self.worker.tell(wire.frame(answer))
        self.token = secrets.token_urlsafe(24)
        self.socket = listen(host, port)
        self.host, self.port = host, int(self.socket.getsockname()[1])
        names = [host] if _loopback(host) else [host, socket.gethostname(), socket.getfqdn()]
        files = [f"/api/{tab.name}/{verb}" for tab in TABS for verb in tab.uploads]
        app = Guard(_app(session, self.worker), self.token, names, files)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=2**14,
                server_header=False,
            )
        )

    @property
    def url(self) -> str:
        """The address to open; the token is behind the #, which browsers send to nobody."""
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.port}/#{self.token}"

    @property
    def started(self) -> bool:
        """Whether requests are answered."""
        return self._server.started

    def run(self) -> None:
        """Serve until Ctrl-C or `stop`."""
        self.worker.start()
        try:
            # The server listens for signals once its loop runs; one that comes before counts too.
            with contextlib.suppress(KeyboardInterrupt), self._server.capture_signals():
                self._server.run(sockets=[self.socket])
        finally:
            self.worker.close()
            self.socket.close()

    def stop(self) -> None:
        """End `run` in another thread."""
        self._server.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises UserError where the port is taken or the host is another's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"nothing can be served at {printable(host)}:{port} ({reason}); choose another --port, "
            "or leave it out for a free one"
        ) from error
    return found


def _loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def _app(session: Session, worker: Worker) -> Starlette:
    page = {path.name: path for path in files("gentool.explore").joinpath("page").iterdir()}

    async def static(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in page:
            return Response("there is no such page", 404, media_type="text/plain")
        kind = TYPES.get(PurePosixPath(name).suffix, "text/plain")
        return Response(page[name].read_bytes(), media_type=kind)

    def every_run(subject: Subject, ask: wire.Ask) -> wire.Answer:
        for one in session.subjects:
            one.refresh()
        return wire.Answer({"runs": [_facts(one) for one in session.subjects]})

    info = _asked(session, worker, "/api/info", every_run, False, wire.Ask.read)

    routes = [
        Route("/", static),
        Route("/{name}", static),
        Route("/api/info", info, methods=["POST"]),
    ]
    for tab in TABS:
        for long, functions in ((False, tab.short), (True, tab.long)):
            for name, function in functions.items():
                address = f"/api/{tab.name}/{name}"
                read = wire.Ask.with_file if name in tab.uploads else wire.Ask.read
                asked = _asked(session, worker, address, function, long, read)
                routes.append(Route(address, asked, methods=["POST"]))
    return Starlette(routes=routes)


def _facts(subject: Subject) -> dict[str, Any]:
    return {**subject.facts(), "tabs": [tab.name for tab in fitting(subject)]}


def _asked(
    session: Session,
    worker: Worker,
    address: str,
    function: Function,
    long: bool,
    read: Callable[[bytes], wire.Ask],
) -> Callable[[Request], Any]:
    """What answers one address: read the question, queue it, stream the frames."""

    async def respond(request: Request) -> Response:
        try:
            ask = read(await request.body())
            subject = session[ask.whole("run", 0, 10**6, 0)]
            # A newer question of one place on one page takes the place of the older.
            key = (ask.text("who", "", 40), ask.text("slot", "", 40), address)
            job = worker.submit(key, lambda: _frames(function, subject, ask), long)
            first = await job.frames.get()
        except UserError as error:
            return Response(wire.failure(str(error)), 422, media_type=FRAMES)
        except BusyError:
            return Response(wire.failure("too many ask at once; try again"), 503, media_type=FRAMES)
        if isinstance(first, SupersededError):
            return Response(wire.failure("a newer question came", "superseded"), media_type=FRAMES)
        return StreamingResponse(_stream(job, first), media_type=FRAMES)

    return respond


def _frames(function: Function, subject: Subject, ask: wire.Ask) -> Iterator[bytes]:
    """In the worker's thread: every answer as a frame, and what went wrong as the last."""
    try:
        subject.refresh()
        found = function(subject, ask)
        for answer in [found] if isinstance(found, wire.Answer) else found:
            yield wire.frame(answer)
    except UserError as error:
        yield wire.failure(str(error))
    except SupersededError:
        raise
    except MemoryError:
        yield wire.failure("there is too little memory for that; ask for less")
    except Exception as error:  # a model or plugin failed; the page says so and goes on
        yield wire.failure(printable(f"{type(error).__name__}: {error}", 300))


async def _stream(job: Job, item: bytes | BaseException | None) -> AsyncIterator[bytes]:
    try:
        while isinstance(item, bytes):
            yield item
            item = await job.frames.get()
    finally:
        job.dropped.set()


def serve_in_thread(explorer: Explorer) -> None:
    """Serve beside other work, as a notebook does; the thread ends with the process."""
    import threading

    threading.Thread(target=explorer.run, name="explore-server", daemon=True).start()
