"""`mnist`, `fashion-mnist` and `cifar10` by name: a local copy, else a checked download.

A local copy is looked for in ``CACHE/downloads/NAME``, ``./NAME`` and ``./data/NAME``. CIFAR-10 is
read in its binary version (Krizhevsky's page), straight from the tar file; the Python version
is pickled and not touched.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources import idx
from gentool.data.sources.fetch import Download, FetchError, fetch
from gentool.errors import UserError, printable


@dataclass(frozen=True)
class Published:
    """A published data set: its files, where they may be had, and the names of its classes."""

    mirrors: tuple[str, ...]
    files: tuple[Download, ...]
    classes: tuple[str, ...]


MNIST = Published(
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files=(
        Download("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        Download("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        Download("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        Download("t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    classes=tuple("0123456789"),
)

FASHION_MNIST = Published(
    mirrors=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    files=(
        Download("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        Download("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        Download("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        Download("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)

CIFAR10 = Published(
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    files=(Download("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),),
    classes=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
)

_CIFAR_TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
_CIFAR_TEST = ("test_batch.bin",)
_CIFAR_ROW = 1 + 3 * 32 * 32  # the label, then the red, green and blue planes
_CIFAR_BATCH = 10_000 * _CIFAR_ROW


def load_mnist(request: Request) -> Loaded:
    return _load_idx(request, MNIST)


def load_fashion_mnist(request: Request) -> Loaded:
    return _load_idx(request, FASHION_MNIST)


def load_cifar10(request: Request) -> Loaded:
    """The binary version, as the tar file or unpacked."""
    for folder in _places(request):
        for inside in (folder, folder / "cifar-10-batches-bin"):
            if all((inside / name).is_file() for name in _CIFAR_TRAIN + _CIFAR_TEST):
                return _cifar_folder(request, inside)
        if (tar := folder / CIFAR10.files[0].name).is_file():
            return _cifar_tar(request, tar)
    return _cifar_tar(request, _download(request, CIFAR10) / CIFAR10.files[0].name)


def _load_idx(request: Request, published: Published) -> Loaded:
    found = next((place for place in _places(request) if idx.accepts(place)), None)
    return idx.load_folder(request, found or _download(request, published), published.classes)


def _places(request: Request) -> tuple[Path, Path, Path]:
    name = request.source.name
    return _home(request), Path(name), Path("data") / name


def _home(request: Request) -> Path:
    return request.options.cache_folder() / "downloads" / request.source.name


def _download(request: Request, published: Published) -> Path:
    """Fetch what is missing into the cache folder; returns that folder. Raises UserError."""
    home, name = _home(request), request.source.name
    for file in published.files:
        if (home / file.name).is_file():
            continue
        try:
            fetch(file, published.mirrors, home, request.progress)
        except FetchError as error:
            files = ", ".join(file.name for file in published.files)
            raise UserError(
                f"{name} is not on this machine and cannot be downloaded ({error}); put {files} "
                f"into {printable(str(home))}"
            ) from error
    return home


def _cifar_folder(request: Request, folder: Path) -> Loaded:
    files = [folder / name for name in _CIFAR_TRAIN + _CIFAR_TEST]
    key = {"source": "cifar10", "files": [cache.stamp(file) for file in files]}

    def read_all() -> Loaded:
        batches = {}
        for file in files:
            with file.open("rb") as opened:
                batches[file.name] = _cifar_batch(opened, file.stat().st_size, str(file))
        return _cifar(batches)

    return cache.through(request.options, key, read_all)


def _cifar_tar(request: Request, tar: Path) -> Loaded:
    key = {"source": "cifar10", "files": [cache.stamp(tar)]}
    return cache.through(request.options, key, lambda: _read_tar(tar, request))


def _read_tar(tar: Path, request: Request) -> Loaded:
    """The batches in the tar file; nothing is unpacked to disk, other members are passed by."""
    shown = printable(str(tar))
    wanted = _CIFAR_TRAIN + _CIFAR_TEST
    batches: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(tar, "r|gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in wanted and member.isreg():
                    inside = archive.extractfile(member)
                    assert inside is not None
                    batches[name] = _cifar_batch(inside, member.size, f"{shown}[{name}]")
                    request.progress("reading cifar10", len(batches), len(wanted))
                if len(batches) == len(wanted):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"{shown} is damaged ({error}); remove it and fetch it again") from error
    if missing := [name for name in wanted if name not in batches]:
        raise UserError(
            f"{shown} lacks {missing[0]}: it is not the binary version of CIFAR-10, "
            f"{CIFAR10.files[0].name}"
        )
    return _cifar(batches)


def _cifar_batch(file: IO[bytes], size: int, shown: str) -> np.ndarray:
    data = file.read(_CIFAR_BATCH) if size == _CIFAR_BATCH else b""
    if len(data) != _CIFAR_BATCH:
        raise UserError(
            f"{printable(shown)} has {size:,} bytes, where a CIFAR-10 batch has {_CIFAR_BATCH:,}; "
            "fetch it again"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_ROW)
    if rows[:, 0].max() > 9:
        raise UserError(f"{printable(shown)} holds a label above 9; fetch it again")
    return rows


def _cifar(batches: dict[str, np.ndarray]) -> Loaded:
    def split(names: tuple[str, ...]) -> Split:
        rows = np.concatenate([batches[name] for name in names])
        return Split(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64))

    return Loaded(split(_CIFAR_TRAIN), split(_CIFAR_TEST), CIFAR10.classes)
