"""Which image a table means by a name, for millions of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from gentool.data.decoding.entries import Strings, hashes


class Places:
    """Finds images by the names that tables have for them.

    Args:
        images: their names below the source, separated by "/".
    """

    def __init__(self, images: Strings) -> None:
        self._whole = _Index(images, lambda name: name, last=True)
        self._last = _Index(images, _last)
        # CelebA's lists say .jpg, whatever its images have become since.
        self._stem = _Index(images, _stem)

    def of(self, folder: str, names: Sequence[str]) -> np.ndarray:
        """The number of each image, int64 (N,), -1 where there is none of that name.

        By the path below `folder` or the source, else by a file name that is there once.
        """
        found = self._whole.find(
            f"{folder}/{_path(name)}" if folder else _path(name) for name in names
        )
        for index, part in ((self._whole, _path), (self._last, _last), (self._stem, _stem)):
            missing = np.flatnonzero(found < 0)
            if len(missing):
                found[missing] = index.find(part(_path(names[row])) for row in missing.tolist())
        return found


class _Index:
    """From a part of a name to the only image that has it, or to the last."""

    def __init__(
        self, images: Iterable[str], part: Callable[[str], str], last: bool = False
    ) -> None:
        found = hashes(map(part, images))
        order = np.argsort(found, kind="stable")
        ordered = found[order]
        same = ordered[1:] == ordered[:-1]
        left = np.ones(len(ordered), bool)
        left[:-1] &= ~same
        if not last:
            left[1:] &= ~same
        self._hashes, self._order = ordered[left], order[left]

    def find(self, parts: Iterator[str]) -> np.ndarray:
        wanted = hashes(parts)
        if not len(self._hashes):
            return np.full(len(wanted), -1, np.int64)
        at = np.searchsorted(self._hashes, wanted)
        at[at == len(self._hashes)] = 0
        found: np.ndarray = np.where(self._hashes[at] == wanted, self._order[at], -1)
        return found


def _path(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    last = _last(name)
    return last.rpartition(".")[0] or last
