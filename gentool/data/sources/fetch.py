"""Downloading one file with a bound on its size and a checksum, by the standard library."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gentool.console import Progress
from gentool.errors import printable
from gentool.files import written_aside

TIMEOUT_SECONDS = 20.0
"""For the connection and for each silence in between; not for the whole download."""

_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Download:
    """A published file: its name, its size in bytes and the MD5 that its publisher states.

    MD5 is what the publishers give. It tells a wrong or damaged file; nothing is executed or
    unpickled, whatever the file holds.
    """

    name: str
    size: int
    md5: str


class FetchError(Exception):
    """No mirror gave the file; the message says why, and is safe to print."""


def fetch(file: Download, mirrors: Sequence[str], folder: Path, progress: Progress) -> Path:
    """Download into `folder` from the first mirror that has the right bytes; returns the path.

    Written aside and renamed only after size and checksum are right.
    """
    reasons = []
    for mirror in mirrors:
        try:
            with written_aside(folder / file.name) as aside:
                _fetch(mirror + file.name, file, aside, progress)
            return folder / file.name
        except (OSError, http.client.HTTPException, FetchError) as error:
            reasons.append(f"{urlsplit(mirror).hostname}: {_reason(error)}")
    raise FetchError("; ".join(reasons))


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error  # URLError wraps what went wrong
    return printable(str(getattr(inner, "strerror", None) or inner), 120)


def _fetch(url: str, file: Download, to: Path, progress: Progress) -> None:
    if not url.startswith(("https://", "http://")):
        raise FetchError("only http and https are used")
    digest, done = hashlib.md5(usedforsecurity=False), 0
    request = urllib.request.Request(url, headers={"User-Agent": "gentool"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer, to.open("wb") as out:
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if done > file.size:
                raise FetchError(f"{file.name} is longer than the {file.size:,} bytes published")
            digest.update(chunk)
            out.write(chunk)
            progress(f"downloading {file.name}", done, file.size)
    if done != file.size:
        raise FetchError(f"{file.name} ended after {done:,} of {file.size:,} bytes")
    if digest.hexdigest() != file.md5:
        raise FetchError(f"{file.name} has the checksum {digest.hexdigest()}, not {file.md5}")
