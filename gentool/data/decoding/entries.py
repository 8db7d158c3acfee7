"""The images of a source in flat arrays: some 80 bytes each, so that millions fit in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from gentool.data.decoding.worker import Member

_FIELDS = len(Member._fields)
_MOST = 2**62
"""Numbers of a damaged archive may be any; beyond this none leads to a byte of a file."""


class Entry(NamedTuple):
    """An image file: its name below the source ("train/cat/1.png") and where it lies."""

    name: str
    where: str | Member
    size: int  # bytes
    problem: str = ""  # why it cannot be read, known from the listing alone


class Strings(Protocol):
    """Many strings: a list of them, or `Names`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> str: ...

    def __iter__(self) -> Iterator[str]: ...


class Names:
    """A sequence of names, held as one text."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        self._text += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        found = self._text[self._ends[index] : self._ends[index + 1]]
        return found.decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def repeated(self) -> np.ndarray:
        """Whether each name has come up before: bool (N,)."""
        order = np.argsort(found := hashes(self), kind="stable")
        again = np.zeros(len(self), bool)
        again[order[1:]] = found[order[1:]] == found[order[:-1]]
        return again

    def buffers(self) -> tuple[bytearray, array[int]]:
        """All that makes these names, for a checksum."""
        return self._text, self._ends


class Entries:
    """The images of a source, in the order in which they were found.

    Args:
        root: of images that lie in files of their own, the folder to which names are relative.

    Attributes:
        problems: index -> why that image cannot be read.
    """

    def __init__(self, root: str | None = None) -> None:
        self.root, self.names = root, Names()
        self.problems: dict[int, str] = {}
        self._sizes, self._members = array("q"), array("q")

    def add(self, name: str, size: int, member: Member | None = None, problem: str = "") -> None:
        """One more, of `size` bytes; a member of an archive, or else a file below `root`."""
        if problem:
            self.problems[len(self)] = problem
        self.names.append(name)
        self._sizes.append(min(size, _MOST))
        if member is not None:
            try:
                self._members.fromlist(list(member))  # all of them or none
            except OverflowError:
                self._members.extend(max(min(number, _MOST), -_MOST) for number in member)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Entry:
        name = self.names[index]
        return Entry(name, self._where(index, name), self._sizes[index], self.problem(index))

    def problem(self, index: int) -> str:
        return self.problems.get(index, "")

    def bytes(self) -> int:
        """Of all files together."""
        return sum(self._sizes)

    def without_earlier(self) -> Entries:
        """Of several images with one name the last, as every unpacker has it."""
        backwards = Names(self.names[i] for i in reversed(range(len(self))))
        repeated = backwards.repeated()[::-1]
        if not repeated.any():
            return self
        kept = Entries(self.root)
        for i in np.flatnonzero(~repeated).tolist():
            name, where, size, problem = self[i]
            kept.add(name, size, None if isinstance(where, str) else where, problem)
        return kept

    def digest(self, rows: Iterable[np.ndarray]) -> str:
        """A hash of what is decoded from where, in the order of `rows`."""
        found = hashlib.sha256()
        for buffer in (*self.names.buffers(), self._sizes, self._members):
            found.update(buffer)
        found.update(repr(sorted(self.problems.items())).encode())
        for indices in rows:
            found.update(np.ascontiguousarray(indices, np.int64).data)
        return found.hexdigest()

    def _where(self, index: int, name: str) -> str | Member:
        if self.root is not None:
            return f"{self.root}/{name}"
        return Member(*self._members[_FIELDS * index : _FIELDS * (index + 1)])


def hash64(name: str) -> int:
    """64 bits of a name's BLAKE2b hash."""
    try:
        text = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character, from JSON: the name of no file
        text = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def hashes(names: Iterable[str]) -> np.ndarray:
    """`hash64` of each, uint64 (N,)."""
    return np.fromiter(map(hash64, names), np.uint64)
