"""Downloading one file with a bound on its size and a checksum, by the standard library.

What has come is kept under ``NAME.part`` until it is whole, so that a broken download goes on where
it was: HTTP ranges, RFC 9110, section 14.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from gentool.console import Progress
from gentool.errors import printable
from gentool.files import fsync_directory, umask

TIMEOUT_SECONDS = 20.0
"""For the connection and for each silence in between; not for the whole download."""

MOST_BREAKS = 20
"""How often a server may break off; each time, something must have come."""

_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Download:
    """A published file: its name, its size in bytes, and a checksum, SHA-256 or else MD5.

    MD5 is what many publishers give. It tells a wrong or damaged file; nothing is executed or
    unpickled, whatever the file holds.

    Attributes:
        url: where it is, if not under its name at one of the mirrors.
    """

    name: str
    size: int
    md5: str = ""
    sha256: str = ""
    url: str = ""

    def is_in(self, path: Path) -> bool:
        """Whether a file is byte for byte the published one."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as opened:
            return self.checksum(opened) == (self.sha256 or self.md5)

    def checksum(self, opened: IO[bytes]) -> str:
        kind = "sha256" if self.sha256 else "md5"
        opened.seek(0)
        return hashlib.file_digest(opened, kind).hexdigest()  # type: ignore[arg-type]


class FetchError(Exception):
    """No mirror gave the file; the message says why, and is safe to print."""


class _BreakError(FetchError):
    """The server broke off; what has come is good as far as one can tell."""


def fetch(file: Download, mirrors: Sequence[str], folder: Path, progress: Progress) -> Path:
    """Download into `folder` from the first mirror that has the right bytes; returns the path.

    Renamed to its name only after size and checksum are right. What has come of a download that
    broke off is taken up again, at once and by the next call.
    """
    reasons = []
    for url in [file.url] if file.url else [mirror + file.name for mirror in mirrors]:
        try:
            unfinished = folder / f"{file.name}.part"
            with _part(unfinished) as part:
                _complete(url, file, part, progress)
                part.flush()
                os.fsync(part.fileno())
                os.fchmod(part.fileno(), 0o666 & ~umask())
                unfinished.replace(folder / file.name)
            fsync_directory(folder)
            return folder / file.name
        except (OSError, http.client.HTTPException, FetchError) as error:
            reasons.append(f"{urlsplit(url).hostname}: {_reason(error)}")
    raise FetchError("; ".join(reasons))


@contextlib.contextmanager
def _part(path: Path) -> Iterator[IO[bytes]]:
    """The file that holds what has come, open for one process; removed where it is empty."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as part:
        status = os.fstat(part.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise FetchError(f"{printable(path.name)} is not of gentool's making; remove it")
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchError("another process is fetching it") from None
        try:
            yield part
        finally:
            part.flush()
            with contextlib.suppress(FileNotFoundError):  # under its own name by now
                if path.stat().st_size == 0:
                    path.unlink()


def _complete(url: str, file: Download, part: IO[bytes], progress: Progress) -> None:
    """Fetch what `part` lacks; it is empty after FetchError, unless the server broke off."""
    if not url.startswith(("https://", "http://")):
        raise FetchError("only http and https are used")
    had = part.seek(0, os.SEEK_END)
    for _ in range(MOST_BREAKS):
        before = part.seek(0, os.SEEK_END)
        try:
            if before < file.size:
                _fetch(url, file, part, progress)
            break
        except (_BreakError, TimeoutError, http.client.IncompleteRead, ConnectionError):
            part.flush()
            if part.seek(0, os.SEEK_END) <= before:
                raise
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            if had:
                break
            part.truncate(0)  # there is no such range, so the file there is shorter
            ended = f"{file.name} ended after {before:,} of {file.size:,} bytes"
            raise FetchError(ended) from error
    else:
        raise _BreakError(f"it broke off {MOST_BREAKS} times; try again to go on")
    found = file.checksum(part)
    if found == (file.sha256 or file.md5) and part.seek(0, os.SEEK_END) == file.size:
        return None
    part.truncate(0)
    if had:  # what was there may have been of another file
        return _complete(url, file, part, progress)
    raise FetchError(f"{file.name} has the checksum {found}, not {file.sha256 or file.md5}")


def _fetch(url: str, file: Download, part: IO[bytes], progress: Progress) -> None:
    """Append what is missing; from its beginning where the server knows no ranges."""
    done = part.seek(0, os.SEEK_END)
    headers = {"User-Agent": "gentool", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        if done and not _goes_on(answer, done):
            done = 0
            part.truncate(0)
        part.seek(done)
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if done > file.size:
                part.truncate(0)
                raise FetchError(f"{file.name} is longer than the {file.size:,} bytes published")
            part.write(chunk)
            progress(f"downloading {file.name}", done, file.size)
    if done != file.size:
        raise _BreakError(f"{file.name} ended after {done:,} of {file.size:,} bytes")


def _goes_on(answer: http.client.HTTPResponse, done: int) -> bool:
    """Whether an answer begins at byte `done`."""
    told = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return answer.status == 206 and told is not None and int(told[1]) == done


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error  # URLError wraps what went wrong
    return printable(str(getattr(inner, "strerror", None) or inner), 120)
