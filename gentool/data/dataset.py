"""What loading gives: two splits of examples, their specification and a report.

Light on purpose: numpy is imported for type checkers only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from gentool.spec import Attribute, DataSpec


@dataclass(frozen=True)
class Split:
    """Examples, their labels and their attributes.

    Attributes:
        x: images, uint8 (N, C, H, W), or points, float32 (N, D); C-contiguous, and possibly a
            read-only memory map.
        labels: int64 (N,), or None where the source has none.
        attributes: float32 (N, K), a column for each of `DataSpec.attributes`; None for K = 0.
    """

    x: np.ndarray
    labels: np.ndarray | None = None
    attributes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, order=True)
class BadFile:
    """A file that could not be decoded; both strings are safe to print."""

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What was found on the way, for `gentool data inspect` and the run's record.

    Attributes:
        sizes: "HxW" as stored in the files (before any resize) -> number of images.
        modes: the colour mode of the files in Pillow's names ("RGB", "L", "P", …) -> number.
        broken_count: the number of files that could not be decoded.
        broken: the first of them, at most `MAX_LISTED`.
        ignored: files that are no images by their name.
        notes: further facts, a sentence each.
    """

    MAX_LISTED = 100

    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    broken_count: int = 0
    broken: tuple[BadFile, ...] = ()
    ignored: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """The inverse of `to_json`."""
        broken = tuple(BadFile(**bad) for bad in value["broken"])
        return cls(**{**value, "broken": broken, "notes": tuple(value["notes"])})


@dataclass(frozen=True)
class Loaded:
    """What a source hands to `gentool.data.load`, before holdout and limit.

    Attributes:
        train, test: the splits; test is None where the source has no test split.
        classes: names of the labels, safe to print.
        report: what was found.
        content: a hash of the arrays, the same wherever the files lie.
        shuffled: the examples are stored in a fixed random order, so that any slice of them is
            a fair sample and a holdout needs no copy.
        attributes: what the columns of the splits' attributes are.
    """

    train: Split
    test: Split | None
    classes: tuple[str, ...] = ()
    report: Report = field(default_factory=Report)
    content: str = ""
    shuffled: bool = False
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Data ready for training.

    Attributes:
        name: short and safe as a file name: "mnist" of "../data/mnist", "ring" of "ring:5000".
        train, test: the splits; test has no rows only under ``holdout=0``.
        spec: the shape of one example and the names of the classes.
        report: what was found on the way.
        fingerprint: 16 hex digits that change with any pixel, label, attribute or split.
    """

    name: str
    train: Split
    test: Split
    spec: DataSpec
    report: Report
    fingerprint: str
