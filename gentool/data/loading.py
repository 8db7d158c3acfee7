"""From a source to a data set: the test split, the holdout, the limit and the fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import numpy as np

from gentool.console import Progress
from gentool.data.attributes import converted
from gentool.data.cache import content
from gentool.data.dataset import Dataset, Loaded, Split
from gentool.data.options import DataOptions
from gentool.data.order import fixed_order, held_out
from gentool.data.registry import resolve, run
from gentool.data.reshape import as_asked
from gentool.errors import UserError, printable
from gentool.files import expanded
from gentool.spec import Attribute, DataSpec


def load(options: DataOptions, progress: Progress) -> Dataset:
    """See `gentool.data.load`."""
    if not 0 <= options.holdout < 1:
        raise UserError(f"--holdout {options.holdout} is not a share from 0 up to 1; try 0.1")
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit {options.limit} leaves no training example; give 1 or more")
    options.height_width()  # a --size that is none is refused before any work
    found = _found(options, progress)
    other = None
    if options.test_data is not None:
        asked = _asked_like(found, options)
        other = _found(asked, progress)
    train, test = _splits(found, other, options)
    if options.limit is not None and options.limit < len(train):
        train = _pick(train, options.limit, found.shuffled)
    spec = _spec(found, train)
    facts = [found.content, other and other.content, len(train), len(test), found.shuffled]
    fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return Dataset(short_name(options.data), train, test, spec, found.report, fingerprint)


def _found(options: DataOptions, progress: Progress) -> Loaded:
    """What the source of ``--data`` gives, held to what `Split` promises, and reshaped."""
    request = resolve(options.data, options, progress)
    loaded = run(request)
    for split in (loaded.train, loaded.test):
        if split is None:
            continue
        kinds = ((4, np.dtype(np.uint8)), (2, np.dtype(np.float32)))
        if (split.x.ndim, split.x.dtype) not in kinds or not len(split):
            raise TypeError(
                f"the data source {request.source.name!r} gave {split.x.dtype} {split.x.shape}, "
                "neither uint8 (N, C, H, W) nor float32 (N, D)"
            )
    if not loaded.content:
        loaded = replace(loaded, content=content(loaded))
    return as_asked(loaded, options, progress)


def short_name(text: str) -> str:
    """A file-name safe name for run folders: "mnist" of "../data/mnist", "ring" of "ring:50"."""
    name, _, count = text.partition(":")
    if not (count.isdigit() and name.isidentifier()):
        path = expanded(text)
        name = path.resolve().name if path.name in ("", "..") else path.name
        name = re.sub(r"\.(zip|npz|npy|tar|gz)$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:40].lower() or "data"


def _splits(found: Loaded, other: Loaded | None, options: DataOptions) -> tuple[Split, Split]:
    if other is not None:
        test = other.test or other.train
        a, b = found.train.x, test.x
        if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
            raise UserError(
                f"--test-data {printable(options.test_data or '')} holds examples of shape "
                f"{b.shape[1:]}, but --data {printable(options.data)} of shape {a.shape[1:]}; "
                "give --size or --channels"
            )
        test = _reattributed(test, other.attributes, found.attributes)
        return found.train, _relabelled(test, other.classes, found.classes)
    if found.test is not None:
        return found.train, found.test
    n, k = len(found.train), held_out(len(found.train), options.holdout)
    if found.shuffled:
        return _rows(found.train, slice(0, n - k)), _rows(found.train, slice(n - k, n))
    order = fixed_order(n)
    # Sorted, so that a source's own order survives in each split.
    return _rows(found.train, np.sort(order[: n - k])), _rows(found.train, np.sort(order[n - k :]))


def _relabelled(test: Split, theirs: tuple[str, ...], ours: tuple[str, ...]) -> Split:
    """The test split with labels numbered as in training; without, where a class is unknown."""
    if test.labels is None or theirs == ours:
        return test
    if not set(theirs) <= set(ours):
        return replace(test, labels=None)
    number = np.array([ours.index(name) for name in theirs], np.int64)
    return replace(test, labels=number[test.labels])


def _reattributed(test: Split, theirs: tuple[Attribute, ...], ours: tuple[Attribute, ...]) -> Split:
    """The test split with its attributes in training's order and scale; without, where one is
    missing."""
    if test.attributes is None or theirs == ours:
        return test
    return replace(test, attributes=converted(test.attributes, theirs, ours))


def _pick(split: Split, n: int, shuffled: bool) -> Split:
    if shuffled:
        return _rows(split, slice(0, n))
    return _rows(split, np.sort(fixed_order(len(split))[:n]))


def _rows(split: Split, rows: slice | np.ndarray) -> Split:
    labels = None if split.labels is None else split.labels[rows]
    attributes = None if split.attributes is None else split.attributes[rows]
    return Split(split.x[rows], labels, attributes)


def _asked_like(found: Loaded, options: DataOptions) -> DataOptions:
    """The options for the test data: read with the channels that the training data turned out
    to have."""
    asked = replace(options, data=options.test_data or "")
    shape = found.train.x.shape[1:]
    return replace(asked, channels="grey" if shape[0] == 1 else "rgb") if len(shape) == 3 else asked


def _spec(found: Loaded, train: Split) -> DataSpec:
    kind = "image" if train.x.ndim == 4 else "points"
    shape = tuple(int(n) for n in train.x.shape[1:])
    return DataSpec(kind, shape, found.classes, found.attributes)  # type: ignore[arg-type]
