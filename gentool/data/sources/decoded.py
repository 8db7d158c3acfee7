"""Decoding a listing of images into a new entry of the cache, whatever they lie in."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gentool.data import cache
from gentool.data.attributes import standardised
from gentool.data.dataset import BadFile, Loaded, Report, Split
from gentool.data.decoding import decode, pool
from gentool.data.decoding.entries import Entry
from gentool.data.decoding.layout import Layout, lay_out
from gentool.data.decoding.listing import Listing
from gentool.data.decoding.worker import Archives, DecodeJob, Item, read
from gentool.data.registry import Request
from gentool.data.tables.find import beside, of_path, read_all
from gentool.data.unfinished import Journal, discard
from gentool.errors import UserError, printable
from gentool.files import expanded

_LOOKED_AT = 16  # images that are decoded to guess size and colour
_TRIED = 1000  # broken images, one after the other, until the rest is not tried


class MixedSizesError(UserError):
    """The images differ in size, and no --size was given."""


class _ColouredError(Exception):
    """A coloured image turned up where all were thought to be grey."""


def load_images(
    request: Request,
    key: dict[str, object],
    about: tuple[int, int],
    listing: Callable[[], Listing],
) -> Loaded:
    """The cache's entry, or a decode of the listing.

    Args:
        key: what the listing depends on; the options and the decoder are added here.
        about: roughly how many images there are, and how many bytes.
        listing: called only where there is no entry.
    """
    options = request.options
    size = options.height_width()
    key |= {
        "size": size,
        "fit": options.fit if size else None,
        "channels": options.channels,
        "decoder": [decode.VERSION, _pillow()],
    }
    tables = _own_tables(request)
    if options.labels != "auto" or tables:
        key["labels"] = [options.labels == "none", *map(cache.stamp, tables)]
    # The policy for broken files is no part of the key: changing it costs no new decode.
    loaded = cache.look_up(options, key)
    if loaded is None:
        with pool.DecodePool(*about) as decoders:
            found = listing()
            if not len(found.entries):
                raise _no_images(request.path, found.ignored)
            if options.labels != "auto":
                found = found._replace(tables=[], known=())
            found = found._replace(tables=[*found.tables, *map(of_path, tables)])
            loaded = _Decoder(request, key, found, decoders).run()
    _enforce(loaded, request)
    return loaded


def _own_tables(request: Request) -> list[Path]:
    """The label files that are not in the source: the one asked for, or CelebA's beside it."""
    asked = request.options.labels
    if asked == "auto":
        return beside(request.path)
    if asked == "none":
        return []
    path = expanded(asked)
    if not path.is_file():
        raise UserError(f"--labels {printable(asked)} is no file; give a label file, auto or none")
    return [path]


def _enforce(loaded: Loaded, request: Request) -> None:
    report = loaded.report
    if report.broken_count and request.options.on_bad_file == "fail":
        good = len(loaded.train) + (0 if loaded.test is None else len(loaded.test))
        first, them = report.broken[0], "it" if report.broken_count == 1 else "them"
        raise UserError(
            f"{printable(str(request.path))}: {first.name} {first.reason}; {report.broken_count:,} "
            f"of {report.broken_count + good:,} images cannot be used (gentool data inspect lists "
            f"{them}); mend or remove {them}, or leave {them} out with --on-bad-file skip"
        )


@dataclass
class _Decoder:
    """One decode of a listing into a new cache entry."""

    request: Request
    key: dict[str, object]
    listing: Listing
    decoders: pool.DecodePool

    def __post_init__(self) -> None:
        self.shown = printable(str(self.request.path))
        entries, asked = self.listing.entries, self.request.options.labels != "auto"
        said = read_all(self.listing.tables, entries.names, asked, self.listing.known)
        for index, problem in (said.problems if said else {}).items():
            entries.problems.setdefault(index, problem)
        self.layout: Layout = lay_out(entries.names, said)
        self.listing = self.listing._replace(tables=[], known=())  # they may be large

    def run(self) -> Loaded:
        options, resumable = self.request.options, self.decoders.large
        with cache.Draft(options, self.key, resumable=resumable) as draft:
            items = self.listing.entries.digest(self.layout.rows.values())
            plan = {"items": items, "batches": pool.batching()}
            target = _left_target(draft, plan) or self._guess()
            try:
                return self._decode(draft, plan, target)
            except _ColouredError:
                return self._decode(draft, plan, decode.Target(target.size, 3, target.fit))

    def _guess(self) -> decode.Target:
        """The target, from the options and a look at the first sound images."""
        options = self.request.options
        size, fit = options.height_width(), options.fit
        if size is not None and options.channels != "auto":
            return decode.Target(size, 1 if options.channels == "grey" else 3, fit)
        seen = self._sound_ones()
        auto_grey = options.channels == "auto" and not any(_has_colour(one) for one in seen)
        channels = 1 if options.channels == "grey" or auto_grey else 3
        if size is None:
            return decode.Target(seen[0].size, channels, None, only_grey=auto_grey)
        return decode.Target(size, channels, fit, only_grey=auto_grey)

    def _sound_ones(self) -> list[decode.Decoded]:
        """The first few images that can be decoded. Raises UserError where there is none."""
        seen: list[decode.Decoded] = []
        reasons: list[str] = []
        for row in itertools.chain.from_iterable(self.layout.rows.values()):
            entry = self.listing.entries[row]
            try:
                seen.append(self._look(entry))
            except decode.BadImageError as error:
                reasons.append(f"{printable(entry.name)} {error}")
            if len(seen) == _LOOKED_AT or (len(reasons) == _TRIED and not seen):
                break
        if not seen:
            raise UserError(
                f"none of the {len(reasons):,} images tried in {self.shown} can be decoded; the "
                f"first: {reasons[0]}"
            )
        return seen

    def _look(self, entry: Entry) -> decode.Decoded:
        if entry.problem:
            raise decode.BadImageError(entry.problem)
        archives = Archives(self.listing.archives)
        with contextlib.closing(archives), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode.decode(read(entry.where, archives), decode.Target())

    def _decode(self, draft: cache.Draft, plan: dict[str, Any], target: decode.Target) -> Loaded:
        assert target.size is not None
        rows = self.layout.rows
        plan = {**plan, "target": json.loads(json.dumps(asdict(target)))}
        shapes = {split: (len(rows[split]), target.channels, *target.size) for split in rows}
        left = Journal.plan_in(draft.folder) if draft.held else {}
        if left != plan or not all(draft.has(split, shapes[split], np.uint8) for split in rows):
            discard(draft.folder)
            for split, shape in shapes.items():
                draft.array(split, shape, np.uint8)
        paths = {split: draft.path(split) for split in rows}
        arrays = {split: str(path) for split, path in paths.items()}
        job = DecodeJob(self.listing.archives, target, arrays)
        total = sum(map(len, rows.values()))
        with contextlib.ExitStack() as stack:
            journal = None
            if draft.held:
                journal = stack.enter_context(Journal(draft.folder, list(paths.values()), plan))
            progress = self.request.progress
            outcome = self.decoders.decode(job, self._items(), total, progress, journal)
        self._raise_if_stopped(outcome, target)
        return draft.commit(self._finish(draft, outcome))

    def _items(self) -> Iterator[Item]:
        for split, indices in self.layout.rows.items():
            for row, index in enumerate(indices.tolist()):
                entry = self.listing.entries[index]
                yield Item(split, row, entry.where, entry.size, entry.problem)

    def _raise_if_stopped(self, outcome: pool.Decoded, target: decode.Target) -> None:
        if outcome.stop is None:
            return
        if outcome.stop[0] == "colour":
            raise _ColouredError
        _, split, row, (height, width) = outcome.stop
        assert target.size is not None
        name = printable(self.listing.entries[self.layout.rows[split][row]].name)
        raise MixedSizesError(
            f"the images in {self.shown} differ in size (height x width): {name} is "
            f"{height}x{width}, others are {target.size[0]}x{target.size[1]}; give --size, for "
            f"example --size {min(64, height, width, *target.size)}"
        )

    def _finish(self, draft: cache.Draft, outcome: pool.Decoded) -> Loaded:
        """Close the gaps that broken files left, and gather the report."""
        splits: dict[str, Split] = {}
        values: dict[str, np.ndarray] = {}
        if outcome.bad:
            discard(draft.folder)
        for split, indices in self.layout.rows.items():
            bad = [row for place, row in outcome.bad if place == split]
            good = np.delete(np.arange(len(indices)), bad)
            if not len(good) and split == "train":
                raise UserError(f"none of the training images in {self.shown} can be decoded")
            if not len(good):
                draft.path(split).unlink()
                continue
            labels = self.layout.labels.get(split)
            pixels = draft.keep_rows(split, good)
            splits[split] = Split(pixels, None if labels is None else labels[good])
            if self.layout.attributes:
                values[split] = self.layout.values[split][good]
        names = self.listing.entries.names
        broken = (
            BadFile(printable(names[self.layout.rows[split][row]]), why)
            for (split, row), why in outcome.bad.items()
        )
        notes = self.layout.notes
        if outcome.frames:
            notes += (f"{outcome.frames:,} files have several frames; the first is used",)
        report = Report(
            sizes=dict(outcome.sizes.most_common(100)),
            modes=dict(outcome.modes.most_common()),
            broken_count=len(outcome.bad),
            broken=tuple(heapq.nsmallest(Report.MAX_LISTED, broken)),
            ignored=self.listing.ignored,
            notes=notes,
        )
        columns, attributes = standardised(self.layout.attributes, values) if values else ({}, ())
        splits = {name: replace(one, attributes=columns.get(name)) for name, one in splits.items()}
        return Loaded(
            splits["train"],
            splits.get("test"),
            self.layout.classes,
            report,
            shuffled=True,
            attributes=attributes,
        )


def _left_target(draft: cache.Draft, plan: dict[str, Any]) -> decode.Target | None:
    """What a killed process was decoding the same images to; None where there was none."""
    left = Journal.plan_in(draft.folder) if draft.held else {}
    try:
        target = left.pop("target")
        found = decode.Target(**{**target, "size": tuple(target["size"])})
    except (KeyError, TypeError):
        return None
    return found if left == plan else None


def _has_colour(image: decode.Decoded) -> bool:
    return bool((image.pixels != image.pixels[:1]).any())


def _no_images(path: Path, ignored: int) -> UserError:
    others = f" ({ignored:,} other files were passed by)" if ignored else ""
    return UserError(
        f"there is no image in {printable(str(path))}{others}; gentool looks for files that end "
        f"in {' '.join(sorted(decode.SUFFIXES))}"
    )


def _pillow() -> list[str | None]:
    from PIL import __version__, features

    return [__version__, features.version("libjpeg_turbo") or features.version("jpg")]
