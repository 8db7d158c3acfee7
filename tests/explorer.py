"""An explorer served in this process, and requests to it as a browser or an enemy would send."""

from __future__ import annotations

import base64
import http.client
import io
import json
import shlex
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gentool.explore.server import Explorer
from gentool.explore.session import open_all


@dataclass
class Reply:
    """A frame of an answer: its JSON, and its parts as arrays or bytes."""

    facts: dict[str, Any]
    parts: list[Any]
    command: str
    error: str | None


def frames(body: bytes) -> list[Reply]:
    """Take an answer's bytes apart, independently of what put them together."""
    found = []
    while body:
        (size,) = struct.unpack_from("<I", body)
        one, body = body[4 : 4 + size], body[4 + size :]
        (length,) = struct.unpack_from("<I", one)
        head, at, parts = json.loads(one[4 : 4 + length]), 4 + length, []
        for part in head["parts"]:
            data = one[at : at + part["length"]]
            at += part["length"]
            kind = {"pixels": np.uint8, "floats": np.dtype("<f4")}.get(part["kind"])
            parts.append(data if kind is None else np.frombuffer(data, kind).reshape(part["shape"]))
        assert at == len(one)
        found.append(
            Reply(head.get("facts", {}), parts, head.get("command", ""), head.get("error"))
        )
    return found


@dataclass
class Client:
    """Speaks to an explorer."""

    explorer: Explorer

    def raw(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; the names of headers are given with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.explorer.port, timeout=60)
        given = {"X-Gentool-Token": self.explorer.token}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def send(self, address: str, file: bytes, **question: Any) -> Reply:
        """The answer to a question that brings a file."""
        text = json.dumps(question).encode()
        body = struct.pack("<I", len(text)) + text + file
        return frames(self.raw("POST", f"/api/{address}", body)[2])[-1]

    def all(self, address: str, **question: Any) -> list[Reply]:
        """Every frame that answers a question."""
        return frames(self.raw("POST", f"/api/{address}", json.dumps(question).encode())[2])

    def ask(self, address: str, **question: Any) -> Reply:
        """The last frame that answers a question; a sentence of failure is an AssertionError."""
        last = self.all(address, **question)[-1]
        assert last.error is None, last.error
        return last

    def failure(self, address: str, **question: Any) -> str:
        """The sentence that a question is refused with."""
        last = self.all(address, **question)[-1]
        assert last.error is not None, last.facts
        return last.error


@contextmanager
def exploring(*runs: object) -> Iterator[Client]:
    """Serve runs on a free port."""
    explorer = Explorer(open_all([str(run) for run in runs]))
    thread = threading.Thread(target=explorer.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not explorer.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield Client(explorer)
    finally:
        explorer.stop()
        thread.join(20)
        assert not thread.is_alive()


def run_line(cli: Callable[..., Any], line: str, *more: str) -> None:
    """Run the terminal's line of a page, as a shell would read it."""
    words = shlex.split(line)
    assert words[0] == "gentool"
    result = cli(*words[1:], *more)
    assert result.code == 0, result.err


def cell(
    png: bytes | str, shape: tuple[int, int, int], row: int = 0, column: int = 0
) -> np.ndarray:
    """One cell of a sheet with 2 pixels between its cells, at its own size: uint8 (H, W, C)."""
    with Image.open(io.BytesIO(png) if isinstance(png, bytes) else png) as image:
        pixels = np.asarray(image)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    channels, height, width = shape
    factor = 1
    while pixels.shape[0] % factor or (pixels.shape[0] // factor - 2) % (height + 2):
        factor += 1
    top, left = 2 + row * (height + 2), 2 + column * (width + 2)
    small = pixels[::factor, ::factor]
    assert (small.repeat(factor, 0).repeat(factor, 1) == pixels).all()
    return small[top : top + height, left : left + width, :channels]


def tile(png: str, shape: tuple[int, int, int], row: int, column: int) -> np.ndarray:
    """One image of a table with a caption below each, at its own size: uint8 (H, W, C)."""
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB"))
    channels, height, width = shape
    factor = max(1, -(-72 // max(height, width)))
    top = 4 + row * (height * factor + 13 + 4)
    left = 4 + column * (width * factor + 4)
    large = pixels[top : top + height * factor, left : left + width * factor]
    small = large[::factor, ::factor]
    assert (small.repeat(factor, 0).repeat(factor, 1) == large).all()
    return small[..., :channels]


def packed(x: np.ndarray) -> str:
    """An image, uint8 (H, W, C), as a page sends what was drawn."""
    return base64.b64encode(np.ascontiguousarray(x).tobytes()).decode()
