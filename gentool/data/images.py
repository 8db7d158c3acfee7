"""A folder or a zip of images -> decoded arrays in the cache."""

from __future__ import annotations

import itertools
import os
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gentool.data import cache, decode, pool
from gentool.data.dataset import BadFile, Loaded, Report, Split
from gentool.data.layout import Layout, lay_out
from gentool.data.registry import Request
from gentool.data.worker import Item, Job, Member, read
from gentool.data.zipdir import ZipDirectory
from gentool.errors import UserError, printable

MAX_FILES = 10_000_000
_LOOKED_AT = 16  # images that are decoded to guess size and colour
_TRIED = 1000  # broken images, one after the other, until the rest is not tried


_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX(/|$))")


class Entry(NamedTuple):
    """An image file: its name below the source ("train/cat/1.png") and where it lies."""

    name: str
    where: str | Member
    size: int  # bytes
    problem: str = ""  # why it cannot be read, known from the listing alone


class Listing(NamedTuple):
    entries: list[Entry]
    ignored: int  # files that are no images by their name


class MixedSizesError(UserError):
    """The images differ in size, and no --size was given."""


class _ColouredError(Exception):
    """A coloured image turned up where all were thought to be grey."""


def accepts_folder(path: Path) -> bool:
    return path.is_dir()


def accepts_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06") or path.suffix.lower() == ".zip"


def load_folder(request: Request) -> Loaded:
    """All images below a folder."""
    root = os.path.realpath(request.path)
    listing, stamps = _walk(root)
    key: dict[str, object] = {"source": "folder", "root": root, "files": cache.digest(stamps)}
    return _load(request, key, lambda: listing, None)


def load_zip(request: Request) -> Loaded:
    """All images in a zip, which is never unpacked."""
    directory = ZipDirectory(request.path)
    key: dict[str, object] = {
        "source": "zip",
        "size": directory.file_size,
        "directory": directory.digest,
    }
    return _load(request, key, lambda: _members(directory), str(request.path))


def _load(
    request: Request, key: dict[str, object], listing: Callable[[], Listing], archive: str | None
) -> Loaded:
    options = request.options
    size = options.height_width()
    key |= {
        "size": size,
        "fit": options.fit if size else None,
        "channels": options.channels,
        "decoder": [decode.VERSION, _pillow()],
    }
    # The policy for broken files is no part of the key: changing it costs no new decode.
    loaded = cache.look_up(options, key)
    if loaded is None:
        found = listing()
        if not found.entries:
            raise _no_images(request.path, found.ignored)
        loaded = _Decoder(request, key, found, archive).run()
    _enforce(loaded.report, request)
    return loaded


def _enforce(report: Report, request: Request) -> None:
    if report.broken_count and request.options.on_bad_file == "fail":
        total, first = report.broken_count + sum(report.sizes.values()), report.broken[0]
        raise UserError(
            f"{printable(str(request.path))}: {first.name} {first.reason}; {report.broken_count:,} "
            f"of {total:,} images cannot be decoded (gentool data inspect lists them); mend or "
            "remove them, or leave them out with --on-bad-file skip"
        )


@dataclass
class _Decoder:
    """One decode of a listing into a new cache entry."""

    request: Request
    key: dict[str, object]
    listing: Listing
    archive: str | None

    def __post_init__(self) -> None:
        self.shown = printable(str(self.request.path))
        self.layout: Layout = lay_out([entry.name for entry in self.listing.entries])

    def run(self) -> Loaded:
        target = self._guess()
        try:
            return self._decode(target)
        except _ColouredError:
            return self._decode(decode.Target(target.size, 3, target.fit))

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
        archive = os.open(self.archive, os.O_RDONLY) if self.archive else -1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return decode.decode(read(entry.where, archive), decode.Target())
        finally:
            if archive >= 0:
                os.close(archive)

    def _decode(self, target: decode.Target) -> Loaded:
        assert target.size is not None
        entries, rows = self.listing.entries, self.layout.rows
        with cache.Draft(self.request.options, self.key) as draft:
            for split, indices in rows.items():
                draft.array(split, (len(indices), target.channels, *target.size), np.uint8)
            arrays = {split: str(draft.path(split)) for split in rows}
            job = Job(self.archive, target, arrays, cache.HEADER)
            items, sizes, bad = [], [], {}
            for split, indices in rows.items():
                for row, index in enumerate(indices):
                    entry = entries[index]
                    if entry.problem:
                        bad[split, row] = entry.problem
                    else:
                        items.append(Item(split, row, entry.where))
                        sizes.append(entry.size)
            outcome = pool.decode_all(job, items, sizes, self.request.progress)
            outcome.bad |= bad
            self._raise_if_stopped(outcome, target)
            return draft.commit(self._finish(draft, outcome))

    def _raise_if_stopped(self, outcome: pool.Outcome, target: decode.Target) -> None:
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

    def _finish(self, draft: cache.Draft, outcome: pool.Outcome) -> Loaded:
        """Close the gaps that broken files left, and gather the report."""
        splits: dict[str, Split] = {}
        for split, indices in self.layout.rows.items():
            good = [row for row in range(len(indices)) if (split, row) not in outcome.bad]
            if not good and split == "train":
                raise UserError(f"none of the training images in {self.shown} can be decoded")
            if not good:
                continue
            labels = self.layout.labels.get(split)
            pixels = draft.keep_rows(split, good)
            splits[split] = Split(pixels, None if labels is None else labels[good])
        names = {
            place: self.listing.entries[self.layout.rows[place[0]][place[1]]].name
            for place in outcome.bad
        }
        broken = sorted(BadFile(printable(names[p]), why) for p, why in outcome.bad.items())
        notes = self.layout.notes
        if outcome.frames:
            notes += (f"{outcome.frames:,} files have several frames; the first is used",)
        report = Report(
            sizes=dict(outcome.sizes.most_common(100)),
            modes=dict(outcome.modes.most_common()),
            broken_count=len(broken),
            broken=tuple(broken[: Report.MAX_LISTED]),
            ignored=self.listing.ignored,
            notes=notes,
        )
        return Loaded(
            splits["train"], splits.get("test"), self.layout.classes, report, shuffled=True
        )


def _has_colour(image: decode.Decoded) -> bool:
    return bool((image.pixels != image.pixels[:1]).any())


def _walk(root: str) -> tuple[Listing, list[object]]:
    """Every image below `root` with [name, size, mtime]; hidden files and folders are passed by.

    Links are followed, each folder once.
    """
    entries: list[Entry] = []
    stamps: list[object] = []
    ignored = 0
    seen: set[tuple[int, int]] = set()
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            status = os.stat(os.path.join(root, below))  # noqa: PTH116, PTH118  (50,000 of them)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, below)) as found:  # noqa: PTH118
                inside = sorted(found, key=lambda one: one.name)
        except OSError as error:
            where = printable(os.path.join(root, below))  # noqa: PTH118
            raise UserError(f"{where} cannot be read: {error.strerror}") from error
        for one in inside:
            if one.name.startswith(".") or one.name == "__MACOSX":
                continue
            name = f"{below}/{one.name}" if below else one.name
            if one.is_dir():
                folders.append(name)
            elif not _is_image(one.name):
                ignored += 1
            else:
                entry = _entry(name, one)
                entries.append(entry)
                stamps.append([name, entry.size, entry.problem or one.stat().st_mtime_ns])
        if len(entries) > MAX_FILES:
            raise UserError(f"{printable(root)} holds more than {MAX_FILES:,} images")
    return Listing(entries, ignored), stamps


def _entry(name: str, found: os.DirEntry[str]) -> Entry:
    try:
        status = found.stat()
    except OSError as error:
        return Entry(name, found.path, 0, f"cannot be read ({error.strerror})")
    # A pipe or a device would block or never end.
    problem = "" if stat.S_ISREG(status.st_mode) else "is no regular file"
    return Entry(name, found.path, status.st_size, problem)


def _members(directory: ZipDirectory) -> Listing:
    entries: dict[str, Entry] = {}
    ignored = 0
    for found in directory.entries():
        if _HIDDEN.search(found.name):
            continue
        if not _is_image(found.name):
            ignored += 1
            continue
        # Of two entries with one name the later counts, as for every unpacker.
        entries[found.name] = Entry(found.name, found.member, found.member.stored, found.problem)
    return Listing(list(entries.values()), ignored)


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in decode.SUFFIXES


def _no_images(path: Path, ignored: int) -> UserError:
    others = f" ({ignored:,} other files were passed by)" if ignored else ""
    return UserError(
        f"there is no image in {printable(str(path))}{others}; gentool looks for files that end "
        f"in {' '.join(sorted(decode.SUFFIXES))}"
    )


def _pillow() -> list[str | None]:
    from PIL import __version__, features

    return [__version__, features.version("libjpeg_turbo") or features.version("jpg")]
