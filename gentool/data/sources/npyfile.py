"""Arrays in .npy and .npz files, read row by row with bounded memory and without pickle."""

from __future__ import annotations

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from gentool.data.decoding.zipdir import ZipDirectory
from gentool.errors import UserError, printable

CHUNK_BYTES = 8 * 2**20
MAX_MEMBERS = 1_000
MAX_EXAMPLES = 20_000_000
MAX_EXAMPLE_BYTES = 256 * 2**20

_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 256 * 2**20, 200


@dataclass(frozen=True)
class ArrayFile:
    """One array on disk; only its header has been read.

    Attributes:
        path: the .npy or .npz file.
        member: the name inside an .npz; "" for a .npy.
        shape, dtype: as the header says, checked against the size of the file.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def shown(self) -> str:
        """The array's name in messages, safe to print."""
        inside = f"[{printable(self.member.removesuffix('.npy'), 40)}]" if self.member else ""
        return printable(str(self.path)) + inside

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order, some megabytes at a time. Raises UserError where the file is bad."""
        row = max(math.prod(self.shape[1:]) * self.dtype.itemsize, 1)
        step = max(CHUNK_BYTES // row, 1)
        with _explained(self.shown), _opened(self.path, self.member) as file:
            _header(file)
            for start in range(0, self.shape[0], step):
                n = min(step, self.shape[0] - start)
                data = _read_exactly(file, n * row)
                yield np.frombuffer(data, self.dtype).reshape(n, *self.shape[1:])


def open_arrays(path: Path) -> dict[str, ArrayFile]:
    """The arrays in a file by name; a .npy has one, called "x".

    Raises UserError for a damaged file, and for arrays of Python objects, which only pickle
    could read.
    """
    shown = printable(str(path))
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"{shown} is no file; give a .npy or a .npz")
    with path.open("rb") as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        return {"x": _look(path, "", path.stat().st_size)}
    if magic[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise UserError(f"{shown} is no .npy and no .npz file; write it with np.save or np.savez")
    members = list(ZipDirectory(path).entries())  # refuses what is too many, or overlaps
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{shown} holds {len(members):,} arrays, more than {MAX_MEMBERS:,}")
    arrays = {}
    for entry in members:
        size, stored = entry.member.size, entry.member.stored
        if size > max(_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO * stored):
            raise UserError(
                f"{shown}: {printable(entry.name, 40)} would inflate {stored:,} bytes to {size:,}; "
                "it is made to do harm, or to be saved with np.savez"
            )
        if entry.name.endswith(".npy") and not entry.problem:
            arrays[entry.name.removesuffix(".npy")] = _look(path, entry.name, size)
    return arrays


def _look(path: Path, member: str, size: int) -> ArrayFile:
    """Read an array's header and hold it against the number of bytes there are."""
    array = ArrayFile(path, member, (), np.dtype(np.uint8))
    with _explained(array.shown), _opened(path, member) as file:
        shape, fortran, dtype = _header(file)
        left = size - file.tell()
    if dtype.hasobject:
        raise UserError(
            f"{array.shown} holds Python objects, which only pickle could read, and gentool "
            "unpickles nothing; save a plain numeric array"
        )
    if fortran and len(shape) > 1:
        raise UserError(
            f"{array.shown} is stored in Fortran order; save np.ascontiguousarray(x) instead"
        )
    needed = math.prod(shape) * dtype.itemsize
    if needed != left:
        raise UserError(
            f"{array.shown} promises {needed:,} bytes of data, but holds {left:,}; it is cut short "
            "or damaged"
        )
    if shape and (shape[0] > MAX_EXAMPLES or needed > shape[0] * MAX_EXAMPLE_BYTES):
        raise UserError(
            f"{array.shown} has the shape {shape}: more than {MAX_EXAMPLES:,} examples, or more "
            f"than {MAX_EXAMPLE_BYTES >> 20} MB in one"
        )
    return ArrayFile(path, member, shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not supported")
    parts = np.lib.format
    parse = parts.read_array_header_1_0 if version == (1, 0) else parts.read_array_header_2_0
    try:
        shape, fortran, dtype = parse(file)
    except Exception as error:  # numpy tokenizes the header, and fails in many ways
        raise ValueError("its header cannot be read") from error
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"its header has the shape {shape}")
    return shape, fortran, dtype


# What numpy and zipfile raise for damaged files.
_DAMAGED = (
    *(ValueError, KeyError, EOFError, TypeError, RuntimeError, struct.error, zlib.error),
    *(zipfile.BadZipFile, NotImplementedError),
)


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    if not member:
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(member) as inside:
        yield inside


@contextlib.contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise UserError(f"{shown} is damaged: {printable(str(error), 100)}") from error


def _read_exactly(file: IO[bytes], n: int) -> bytes:
    parts = []
    while n > 0:
        part = file.read(n)
        if not part:
            raise EOFError("it ends too soon")
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
