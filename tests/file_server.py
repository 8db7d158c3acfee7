"""A small web server on this machine, which may break off in the middle of a file."""

from __future__ import annotations

import http.server
import threading


class Server:
    """Serves `files` at `url`.

    Attributes:
        requests: the names that were asked for.
        begins: where each answer began.
        breaks: bytes of an answer after which the connection is closed.
        ranges: whether it knows ranges.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.begins: list[int] = []
        self.breaks: int | None = None
        self.ranges = True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.requests.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                outer.answer(self, outer.files[name])

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:  # a client that hangs up is part of a test
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
        asked = handler.headers.get("Range", "") if self.ranges else ""
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.begins.append(begin)
        if begin >= len(data) > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        if self.breaks is not None:  # else its end is that of the connection
            handler.send_header("Content-Length", str(len(data) - begin))
        handler.end_headers()
        end = len(data) if self.breaks is None else begin + self.breaks
        handler.wfile.write(data[begin:end])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
