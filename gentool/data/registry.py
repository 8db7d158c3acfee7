"""The one table of data sources. Each entry is a string until it is used: listing imports nothing.

A new format is one module with ``load(request) -> Loaded`` and a line here; another package adds
its own with `register`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from gentool.console import Progress
from gentool.data.dataset import Loaded
from gentool.data.options import DataOptions
from gentool.data.shards import is_pattern
from gentool.errors import UserError, nearest, printable
from gentool.files import expanded
from gentool.hooks import collect
from gentool.spec import DownloadInfo, SourceInfo

__all__ = ["Request", "SourceInfo", "register", "resolve", "run", "sources"]


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    Attributes:
        source: the table's entry.
        options: all data options.
        path: for kind "path": the file or folder, which exists.
        count: N of ``name:N``.
        argument: the text of ``name:…``, for a source that takes one.
        progress: to be called now and then during long work.
    """

    source: SourceInfo
    options: DataOptions
    path: Path = Path()
    count: int | None = None
    argument: str = ""
    progress: Progress = lambda what, done, total: None


MAX_COUNT = 10_000_000

_FOLDER = SourceInfo(
    "folder",
    "path",
    "folder of images; class sub-folders become labels, train/ and test/ the splits",
    "gentool.data.sources.images:load_folder",
    accepts="gentool.data.sources.images:accepts_folder",
)

_SOURCES: list[SourceInfo] = [
    SourceInfo(
        "glyphs",
        "built-in",
        "digits 0-9 drawn by Pillow, 28x28 grey, 20,000 + 2,000 test; glyphs:N draws N",
        "gentool.data.sources.glyphs:load",
        counted=True,
    ),
    SourceInfo(
        "faces",
        "built-in",
        "cartoon faces, 64x64 RGB, with seven attributes, 10,000 + 1,000 test; faces:N draws N",
        "gentool.data.sources.faces:load",
        counted=True,
    ),
    SourceInfo(
        "ring",
        "built-in",
        "points: 8 Gaussians on the unit circle, sigma 0.01, 100,000 of them; ring:N draws N",
        "gentool.data.sources.points:load",
        counted=True,
    ),
    SourceInfo(
        "grid",
        "built-in",
        "points: 25 Gaussians on {-4,-2,0,2,4} squared, sigma 0.05",
        "gentool.data.sources.points:load",
        counted=True,
    ),
    SourceInfo(
        "swissroll",
        "built-in",
        "points: a spiral in the plane with a little noise",
        "gentool.data.sources.points:load",
        counted=True,
    ),
    SourceInfo(
        "gauss1d",
        "built-in",
        "points: one Gaussian on the line, mean 4, sigma 0.5",
        "gentool.data.sources.points:load",
        counted=True,
    ),
    SourceInfo(
        "mnist",
        "download",
        "handwritten digits, 28x28 grey, 60,000 + 10,000 test, 12 MB",
        "gentool.data.sources.named:load_mnist",
        published="gentool.data.sources.named:MNIST",
    ),
    SourceInfo(
        "fashion-mnist",
        "download",
        "clothes, 28x28 grey, 60,000 + 10,000 test, 31 MB",
        "gentool.data.sources.named:load_fashion_mnist",
        published="gentool.data.sources.named:FASHION_MNIST",
    ),
    SourceInfo(
        "cifar10",
        "download",
        "photographs of ten things, 32x32 RGB, 50,000 + 10,000 test, 170 MB",
        "gentool.data.sources.named:load_cifar10",
        published="gentool.data.sources.named:CIFAR10",
    ),
    SourceInfo(
        "kmnist",
        "download",
        "cursive Japanese characters, 28x28 grey, 60,000 + 10,000 test, 21 MB",
        "gentool.data.sources.named:load_kmnist",
        published="gentool.data.sources.named:KMNIST",
    ),
    SourceInfo(
        "svhn",
        "download",
        "house numbers, 32x32 RGB, 73,257 + 26,032 test, 246 MB (gentool[svhn])",
        "gentool.data.sources.svhn:load",
        published="gentool.data.sources.svhn:SVHN",
    ),
    SourceInfo(
        "stl10",
        "download",
        "photographs of ten things, 96x96 RGB, 5,000 + 8,000 test; stl10:unlabeled has 105,000",
        "gentool.data.sources.stl10:load",
        argument="unlabeled",
        published="gentool.data.sources.stl10:STL10",
    ),
    SourceInfo(
        "lfw",
        "download",
        "faces of 5,749 people, 250x250 RGB, 13,233, 181 MB; needs --size",
        "gentool.data.sources.pictures:load_lfw",
        published="gentool.data.sources.pictures:LFW",
    ),
    SourceInfo(
        "celeba",
        "download",
        "faces with 40 attributes, 218x178 RGB, 162,770 + 19,962 test; see docs/data.md",
        "gentool.data.sources.pictures:load_celeba",
        published="gentool.data.sources.pictures:CELEBA",
    ),
    SourceInfo(
        "omniglot-28",
        "download",
        "characters of 50 alphabets, 28x28 grey, 32,460, 16 MB",
        "gentool.data.sources.pictures:load_omniglot",
        published="gentool.data.sources.pictures:OMNIGLOT",
    ),
    SourceInfo(
        "stacked-mnist",
        "download",
        "three mnist digits as red, green and blue, 1,000 modes, 128,000 + 26,000 test",
        "gentool.data.sources.stacked:load",
        published="gentool.data.sources.named:MNIST",
        counted=True,
    ),
    SourceInfo(
        "idx",
        "path",
        "folder with train-images-idx3-ubyte[.gz] and so on, as MNIST is published",
        "gentool.data.sources.idx:load",
        accepts="gentool.data.sources.idx:accepts",
    ),
    SourceInfo(
        "array",
        "path",
        ".npy or .npz: x (and y), or x_train, y_train, x_test, y_test",
        "gentool.data.sources.arrays:load",
        accepts="gentool.data.sources.arrays:accepts",
    ),
    SourceInfo(
        "tar",
        "path",
        "tar of images, a folder of such shards, or shard-{000..099}.tar, as WebDataset has it",
        "gentool.data.sources.tars:load",
        accepts="gentool.data.sources.tars:accepts",
    ),
    SourceInfo(
        "zip",
        "path",
        "zip of images; sub-folders as for a folder",
        "gentool.data.sources.images:load_zip",
        accepts="gentool.data.sources.images:accepts_zip",
    ),
    _FOLDER,
]


def sources() -> list[SourceInfo]:
    """Every source, in the order of the table, with those of other packages."""
    collect("gentool_data_sources", register)
    return list(_SOURCES)


def register(source: SourceInfo) -> None:
    """Add a source, for packages that bring their own; a taken name raises ValueError.

    A path format is asked before the built-in ones, which accept any folder; but a package that
    is found through its entry point is imported only for what no other format accepts.
    """
    if any(source.name == known.name for known in _SOURCES):
        raise ValueError(f"a data source named {source.name!r} is registered already")
    _SOURCES.insert(0, source)


_DOWNLOADS: list[DownloadInfo] = []


def downloads(wanted: str) -> list[DownloadInfo]:
    """What packages bring for ``gentool data fetch`` beside data sets.

    Args:
        wanted: the name that is looked for; once it is known, no other package is asked.
    """
    collect(
        "gentool_downloads",
        _DOWNLOADS.append,
        wanted,
        lambda: any(one.name == wanted for one in _DOWNLOADS),
    )
    return list(_DOWNLOADS)


def resolve(text: str, options: DataOptions, progress: Progress) -> Request:
    """The source that ``--data text`` means: a name, a name:N, or an existing path.

    A name wins over a path of the same spelling; ``./mnist`` means the path.
    """
    name, path = text.partition(":")[0], expanded(text)
    exists = bool(text) and _exists(path)

    def find() -> Request | None:
        found = _named(text, options, progress)
        if found is None and (exists or is_pattern(text)):
            return _accepted(path, options, progress)
        return found

    if (request := find()) is None:  # then other packages are asked, the one of that name first
        collect(
            "gentool_data_sources",
            register,
            name,
            lambda: _named(text, options, progress) is not None,
        )
        request = find()
    if request is not None:
        return request
    if exists and path.is_dir():  # it will say what is missing
        return Request(_FOLDER, options, path=path, progress=progress)
    if exists:
        raise UserError(
            f"{printable(str(path))} is no data that gentool can read; it reads folders, zips and "
            "tars of images, .npz and .npy files, and IDX folders"
        )
    known = [source.name for source in _SOURCES if source.kind != "path"]
    raise UserError(
        f"there is no data source and no file named {printable(text)!r}"
        f"{nearest(name, known)} (`gentool data list` shows the sources)"
    )


def _named(text: str, options: DataOptions, progress: Progress) -> Request | None:
    """The request that ``name``, ``name:N`` or ``name:argument`` means, if `name` is known."""
    name, colon, rest = text.partition(":")
    for source in _SOURCES:
        if source.kind == "path" or source.name != name:
            continue
        if not colon:
            return Request(source, options, progress=progress)
        if source.counted:
            return Request(source, options, count=_count(text, rest), progress=progress)
        if source.argument:
            return Request(source, options, argument=rest, progress=progress)
    return None


def _accepted(path: Path, options: DataOptions, progress: Progress) -> Request | None:
    """The request of the first format that reads `path`."""
    for source in _SOURCES:
        try:
            if source.kind == "path" and resolve_name(source.accepts)(path):
                return Request(source, options, path=path, progress=progress)
        except OSError as error:
            shown = printable(str(path))
            raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    return None


def run(request: Request) -> Loaded:
    """Call the source's loader."""
    try:
        loaded: Loaded = resolve_name(request.source.loader)(request)
        return loaded
    except OSError as error:  # a file that vanished, or that may not be read
        what = printable(str(error.filename or request.path or request.source.name))
        raise UserError(f"{what} cannot be read: {error.strerror or error}") from error


def _count(text: str, count: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", count) or not 1 <= int(count) <= MAX_COUNT:
        raise UserError(
            f"{printable(text)!r} asks for no number of examples from 1 to {MAX_COUNT:,}; "
            "try glyphs:5000"
        )
    return int(count)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the system, or one with a zero byte
        return False
