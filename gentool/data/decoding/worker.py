"""The decoding of a batch of images, in this process or in one of several.

``python -m gentool.data.decoding.worker`` reads one JSON object a line from stdin: first the job,
then batches; it answers each with a line. Pixels go straight into the cache's mapped files.
The processes are plain programs, not `multiprocessing` children: nothing is pickled, the
caller's main module is not run again, and a decoder that crashes takes only its batch along.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from gentool.data.decoding.decode import (
    MAX_FILE_BYTES,
    BadImageError,
    ColouredError,
    OtherSizeError,
    Target,
    decode,
)

_RUN_BYTES = 2**20


RAW = -1
"""The method of a member whose bytes lie as they are, with no header and no checksum."""


class Member(NamedTuple):
    """Where an image lies inside a zip or tar file."""

    offset: int  # of the local header; of the bytes themselves for RAW
    stored: int  # bytes as stored
    size: int  # bytes after inflating
    method: int  # 0 stored, 8 deflated, RAW
    crc: int
    archive: int = 0  # which one of the job's


class Item(NamedTuple):
    """One image to decode: into row `row` of the array `split`."""

    split: str
    row: int
    where: str | Member  # a path, or a place in the zip file
    size: int = 0  # bytes of the file, for batches of even length
    problem: str = ""  # why it cannot be read, where that is known already


@dataclass(frozen=True)
class DecodeJob:
    """What all batches of a decode have in common.

    Attributes:
        archives: the zip or tar files, if the images lie in such.
        target: what each becomes; its size is set.
        arrays: split -> an existing .npy file of uint8 (N, C, H, W).
    """

    archives: tuple[str, ...]
    target: Target
    arrays: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DecodeJob:
        value = json.loads(text)
        target = value["target"]
        target["size"] = tuple(target["size"])
        return cls(tuple(value["archives"]), Target(**target), value["arrays"])


class Worker:
    """Decodes batches of one job; holds the open files."""

    def __init__(self, job: DecodeJob) -> None:
        self.job = job
        self.archives = Archives(job.archives)
        self.out = {split: _Rows(path, job) for split, path in job.arrays.items()}

    def close(self) -> None:
        self.archives.close()
        for rows in self.out.values():
            rows.close()

    def decode(self, items: list[Item]) -> dict[str, Any]:
        """Decode a batch; stops at the first image of another size or with unexpected colour.

        Returns counts of "sizes" and "modes", the number of images with "frames", the "bad" ones
        as [split, row, reason], and "stop": None, ["size", split, row, [H, W]] or ["colour"].
        """
        sizes: Counter[str] = Counter()
        modes: Counter[str] = Counter()
        frames = 0
        bad: list[list[Any]] = []
        stop: list[Any] | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            for split, row, where, _, problem in items:
                try:
                    if problem:
                        raise BadImageError(problem)
                    image = decode(read(where, self.archives), self.job.target)
                except BadImageError as error:
                    bad.append([split, row, str(error)])
                    continue
                except OtherSizeError as error:
                    stop = ["size", split, row, list(error.size)]
                    break
                except ColouredError:
                    stop = ["colour"]
                    break
                self.out[split].put(row, image.pixels)
                sizes[f"{image.size[0]}x{image.size[1]}"] += 1
                modes[image.mode] += 1
                frames += image.frames
        for rows in self.out.values():
            rows.flush()
        return {"sizes": sizes, "modes": modes, "frames": frames, "bad": bad, "stop": stop}


class _Rows:
    """A file of rows (C, H, W), written in runs.

    By pwrite, since in a mapped file every page that is touched first costs a fault.
    """

    def __init__(self, path: str, job: DecodeJob) -> None:
        assert job.target.size is not None
        shape = (job.target.channels, *job.target.size)
        mapped: np.memmap = np.load(path, mmap_mode="r", allow_pickle=False)
        self._start, self._size = mapped.offset, math.prod(shape)
        self._run = np.empty((max(_RUN_BYTES // self._size, 1), *shape), np.uint8)
        self._first = self._n = 0
        self._file = os.open(path, os.O_WRONLY)

    def put(self, row: int, pixels: np.ndarray) -> None:
        if self._n == len(self._run) or row != self._first + self._n:
            self.flush()
            self._first = row
        self._run[self._n] = pixels
        self._n += 1

    def flush(self) -> None:
        if self._n:
            os.pwrite(self._file, self._run[: self._n].data, self._start + self._first * self._size)
            self._first, self._n = self._first + self._n, 0

    def close(self) -> None:
        os.close(self._file)


class Archives:
    """The descriptors of many files, of which the last used are kept open."""

    MOST = 64

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._open: dict[int, int] = {}  # the last used at the end

    def __getitem__(self, number: int) -> int:
        """Raises OSError where the file is gone."""
        if number in self._open:
            descriptor = self._open.pop(number)
        else:
            if len(self._open) >= self.MOST:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = os.open(self._paths[number], os.O_RDONLY)
        self._open[number] = descriptor
        return descriptor

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


def read(where: str | Member, archives: Archives | Sequence[int] = ()) -> bytes:
    """The bytes of one image file; raises BadImageError, and never reads more than the limit."""
    try:
        if isinstance(where, str):
            return _read_path(where)
        return _read_member(where, archives[where.archive])
    except OSError as error:
        raise BadImageError(f"cannot be read ({error.strerror or error})") from None


def _read_path(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a third faster than Path.open)
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise BadImageError(f"is larger than the {MAX_FILE_BYTES >> 20} MB allowed")
        return file.read(size) or b""


def _read_member(member: Member, archive: int) -> bytes:
    if max(member.size, member.stored) > MAX_FILE_BYTES:
        raise BadImageError(f"is larger than the {MAX_FILE_BYTES >> 20} MB allowed")
    if member.method == RAW:
        data = os.pread(archive, member.size, member.offset)
        if len(data) < member.size:
            raise BadImageError("is cut short")
        return data
    # The local header is 30 bytes, a name and an extra field; most fit in the slack.
    raw = os.pread(archive, 30 + 256 + member.stored, member.offset)
    if raw[:4] != b"PK\x03\x04":
        raise BadImageError("is not where the zip's directory says")
    start = 30 + int.from_bytes(raw[26:28], "little") + int.from_bytes(raw[28:30], "little")
    data = raw[start : start + member.stored]
    if len(data) < member.stored:
        data = os.pread(archive, member.stored, member.offset + start)
    if member.method == 8:
        try:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
        except zlib.error:
            raise BadImageError("is damaged in the zip") from None
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise BadImageError("is damaged in the zip: its checksum does not match")
    return data


def main() -> None:
    """The program: see the module's text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; its end is our end of file
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    worker = Worker(DecodeJob.from_json(sys.stdin.readline()))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        items = [
            Item(split, row, where if isinstance(where, str) else Member(*where), *rest)
            for split, row, where, *rest in json.loads(line)
        ]
        print(json.dumps(worker.decode(items)), file=answers, flush=True)


if __name__ == "__main__":
    main()
