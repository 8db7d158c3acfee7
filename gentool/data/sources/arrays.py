"""``.npy`` and ``.npz`` files -> images or points. Nothing is unpickled.

Images are uint8, or float in [0, 1], of shape (N, H, W), (N, H, W, C) or (N, C, H, W); points are
float (N, D). An array is read in pieces, so its size is limited by the disk, not by memory.
Beside them may lie `attributes`, numbers (N, K), and `attribute_names`; see `attributes.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gentool.console import Progress
from gentool.data import cache
from gentool.data.dataset import Loaded, Report, Split
from gentool.data.decoding import decode
from gentool.data.options import DataOptions
from gentool.data.order import fixed_order
from gentool.data.registry import Request
from gentool.data.sources.attributes import read_attributes
from gentool.data.sources.npyfile import ArrayFile, open_arrays
from gentool.errors import UserError, printable

MAX_LABEL = 10_000

_WHOLE = (("x", "y"), ("images", "labels"), ("data", "labels"), ("data", "target"))
_TRAIN_TEST = (
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("train_images", "train_labels"), ("test_images", "test_labels")),
)


def accepts(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".npy", ".npz")


def load(request: Request) -> Loaded:
    """The arrays of one file; without test arrays they are stored in a fixed shuffle."""
    options = request.options
    size = options.height_width()
    key = {
        "source": "arrays",
        "version": 2,
        "file": cache.stamp(request.path),
        "size": size,
        "fit": options.fit if size else None,
        "channels": options.channels,
    }
    if (kept := cache.look_up(options, key)) is not None:
        return kept
    found = open_arrays(request.path)
    train, test = _choose(found, request.path)
    readers = {"train": _Reader(*train, options)}
    if test is not None:
        readers["test"] = _Reader(*test, options)
    _same_shape(readers, request.path)
    shuffled = test is None
    with cache.Draft(options, key) as draft:
        splits = {
            name: Split(reader.write(draft, name, shuffled, request.progress))
            for name, reader in readers.items()
        }
        labels, classes = _labels(readers, shuffled)
        values, attributes = read_attributes(found, readers, shuffled)
        splits = {
            name: Split(split.x, labels.get(name), values.get(name))
            for name, split in splits.items()
        }
        first = readers["train"]
        sizes = {f"{first.stored[0]}x{first.stored[1]}": first.n} if first.images else {}
        report = Report(sizes=sizes, notes=first.notes)
        made = Loaded(
            splits["train"],
            splits.get("test"),
            classes,
            report,
            shuffled=shuffled,
            attributes=attributes,
        )
        return draft.commit(made)


_Pair = tuple[ArrayFile, ArrayFile | None]


def _choose(found: dict[str, ArrayFile], path: Path) -> tuple[_Pair, _Pair | None]:
    """The arrays for training and test, by their names."""
    for (x, y), (x_test, y_test) in _TRAIN_TEST:
        if x in found:
            test = (found[x_test], found.get(y_test)) if x_test in found else None
            return (found[x], found.get(y)), test
    for x, y in _WHOLE:
        if x in found:
            return (found[x], found.get(y)), None
    if len(found) == 1:
        return (next(iter(found.values())), None), None
    names = ", ".join(printable(name, 30) for name in list(found)[:8]) or "no array"
    raise UserError(
        f"{printable(str(path))} holds {names}; gentool looks for x and y, images and labels, or "
        "x_train, y_train, x_test and y_test"
    )


def _same_shape(readers: dict[str, _Reader], path: Path) -> None:
    if "test" not in readers:
        return
    train, test = readers["train"], readers["test"]
    if train.grey and not test.grey:
        train.grey = False
    test.grey = train.grey
    if train.shape != test.shape:
        raise UserError(
            f"{printable(str(path))}: training examples have the shape {train.shape}, test "
            f"examples {test.shape}; they must agree"
        )


class _Reader:
    """One array of examples, and how its rows become uint8 (C, H, W) or float32 (D,)."""

    def __init__(self, x: ArrayFile, y: ArrayFile | None, options: DataOptions) -> None:
        self.x, self.y, self.options = x, y, options
        self.n = x.shape[0] if x.shape else 0
        self.notes: tuple[str, ...] = ()
        self.images = len(x.shape) > 2
        if self.n == 0 or 0 in x.shape:
            raise UserError(f"{x.shown} has the shape {x.shape}: there is no example in it")
        if x.dtype.kind not in "fiub":
            raise UserError(f"{x.shown} holds {x.dtype}, not numbers")
        if y is not None and y.shape not in ((self.n,), (self.n, 1)):
            raise UserError(f"{y.shown} has the shape {y.shape}, where {(self.n,)} is needed")
        self.axes: tuple[int, ...] = ()  # to (N, H, W, C)
        self.stored = (0, 0)
        self.channels = 1
        self.grey = False
        if self.images:
            self._image_axes()
        elif x.dtype.kind != "f":
            raise UserError(
                f"{x.shown} is {x.dtype} of shape {x.shape}: points must be float, and images "
                "have the shape (N, H, W) or (N, C, H, W)"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """One example's shape, as it comes out."""
        if not self.images:
            return (self.x.shape[1] if len(self.x.shape) == 2 else 1,)
        return (1 if self.grey else 3, *(self.options.height_width() or self.stored))

    def write(
        self, draft: cache.Draft, name: str, shuffled: bool, progress: Progress
    ) -> np.ndarray:
        """All examples into a new array of the entry, in order or in the fixed shuffle."""
        kind = np.dtype(np.uint8 if self.images else np.float32)
        out = draft.array(name, (self.n, *self.shape), kind)
        place = np.argsort(fixed_order(self.n)) if shuffled else np.arange(self.n)
        done = 0
        for rows in self.x.chunks():
            out[place[done : done + len(rows)]] = self._converted(rows, done)
            done += len(rows)
            progress("reading arrays", done, self.n)
        return out

    def _image_axes(self) -> None:
        """Tell (N, H, W, C) from (N, C, H, W) by where a 1, 3 or 4 stands."""
        shape = self.x.shape
        if len(shape) == 3:
            self.stored, self.channels = shape[1:], 1
        elif len(shape) == 4 and shape[1] in (1, 3):
            self.axes, self.stored, self.channels = (0, 2, 3, 1), shape[2:], shape[1]
            if shape[3] in (1, 3, 4):
                self.notes = (f"the shape {shape} is read as (N, C, H, W)",)
        elif len(shape) == 4 and shape[3] in (1, 3, 4):
            self.axes, self.stored, self.channels = (0, 1, 2, 3), shape[1:3], shape[3]
        else:
            raise UserError(
                f"{self.x.shown} has the shape {shape}; images are (N, H, W), (N, H, W, C) or "
                "(N, C, H, W) with 1, 3 or 4 channels"
            )
        if max(self.stored) > decode.MAX_PIXELS // max(min(self.stored), 1):
            raise UserError(f"{self.x.shown} has images of {self.stored} pixels, which is too many")
        asked = self.options.channels
        self.grey = asked == "grey" or (asked == "auto" and self._all_grey())

    def _all_grey(self) -> bool:
        if self.channels == 1:
            return True
        chunks = (self._pixels(rows, 0) for rows in self.x.chunks())
        return all(bool((p[..., :3] == p[..., :1]).all()) for p in chunks)

    def _pixels(self, rows: np.ndarray, start: int) -> np.ndarray:
        """Rows as uint8 (n, H, W, C); raises UserError for values that are no grey levels."""
        rows = rows.transpose(self.axes) if self.axes else rows[..., None]
        if rows.dtype == np.uint8:
            return rows
        if rows.dtype.kind == "b":
            return rows.astype(np.uint8) * np.uint8(255)
        low, high = rows.min(), rows.max()
        top = 1 if rows.dtype.kind == "f" else 255
        if not (low >= 0 and high <= top):  # NaN fails too
            raise UserError(
                f"{self.x.shown}: images {start} to {start + len(rows) - 1} hold values from "
                f"{low} to {high}; images must be uint8, or float from 0 to 1 (for data from -1 to "
                "1 save (x + 1) / 2)"
            )
        if rows.dtype.kind == "f":
            return np.rint(rows.astype(np.float32) * 255).astype(np.uint8)
        return rows.astype(np.uint8)

    def _converted(self, rows: np.ndarray, start: int) -> np.ndarray:
        if not self.images:
            with np.errstate(over="ignore"):
                points = rows.reshape(len(rows), -1).astype(np.float32)
            if not np.isfinite(points).all():
                row = start + int(np.argmin(np.isfinite(points).all(axis=1)))
                raise UserError(f"{self.x.shown}: point {row} is not finite in float32")
            return points
        pixels = self._pixels(rows, start)
        size = self.options.height_width()
        wanted = 1 if self.grey else 3
        if (size in (None, self.stored)) and self.channels == wanted:
            return pixels.transpose(0, 3, 1, 2)
        target = decode.Target(size, wanted, self.options.fit)
        return np.stack([decode.convert(_picture(one), target) for one in pixels])


def _picture(pixels: np.ndarray) -> Image.Image:
    """One uint8 (H, W, C) array as a Pillow image."""
    return Image.fromarray(
        pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels)
    )


def _labels(
    readers: dict[str, _Reader], shuffled: bool
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels by split, and the names of the classes; numbers name themselves."""
    if any(reader.y is None for reader in readers.values()):
        return {}, ()
    raw = {}
    for name, reader in readers.items():
        assert reader.y is not None
        values = np.concatenate(list(reader.y.chunks())).reshape(-1)
        raw[name] = values[fixed_order(reader.n)] if shuffled else values
    kinds = {values.dtype.kind for values in raw.values()}
    shown = readers["train"].y.shown if readers["train"].y else ""
    if kinds == {"U"}:
        names = np.unique(np.concatenate(list(raw.values())))
        found = {name: np.searchsorted(names, values) for name, values in raw.items()}
        classes = tuple(printable(str(name), 100) for name in names)
    elif kinds <= {"i", "u", "b"}:
        low = min(int(values.min()) for values in raw.values())
        high = max(int(values.max()) for values in raw.values())
        if low < 0 or high > MAX_LABEL:
            raise UserError(
                f"{shown} has labels from {low} to {high}; they must be 0 to {MAX_LABEL}"
            )
        found, classes = raw, tuple(str(k) for k in range(high + 1))
    else:
        raise UserError(f"{shown} holds labels that are neither whole numbers nor names")
    return {name: values.astype(np.int64) for name, values in found.items()}, classes
