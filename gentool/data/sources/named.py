"""`mnist`, `fashion-mnist`, `kmnist` and `cifar10` by name; see `published`.

CIFAR-10 is read in its binary version (Krizhevsky's page), straight from the tar file; the Python
version is pickled and not touched.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources import idx
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import NotAsPublished, Published, from_home, places
from gentool.errors import UserError, printable

MNIST = Published(
    name="mnist",
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
    content=(
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
)

FASHION_MNIST = Published(
    name="fashion-mnist",
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

KMNIST = Published(
    name="kmnist",
    mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    files=(
        Download(
            "train-images-idx3-ubyte.gz",
            18_165_135,
            sha256="51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        Download(
            "train-labels-idx1-ubyte.gz",
            29_497,
            sha256="e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        Download(
            "t10k-images-idx3-ubyte.gz",
            3_041_136,
            sha256="edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        Download(
            "t10k-labels-idx1-ubyte.gz",
            5_120,
            sha256="20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)

CIFAR10 = Published(
    name="cifar10",
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


def load_kmnist(request: Request) -> Loaded:
    return _load_idx(request, KMNIST)


def load_cifar10(request: Request) -> Loaded:
    """The binary version, as the tar file or unpacked."""
    home, *others = places(request.options, CIFAR10)
    tar = CIFAR10.files[0]
    for folder in (home, *others):
        for inside in (folder, folder / "cifar-10-batches-bin"):
            if all((inside / name).is_file() for name in _CIFAR_TRAIN + _CIFAR_TEST):
                return _cifar_folder(request, inside)
        if folder != home and (folder / tar.name).is_file():
            return _cifar_tar(request, folder / tar.name)
    return from_home(request, CIFAR10, lambda place: _cifar_tar(request, place / tar.name))


def _load_idx(request: Request, published: Published) -> Loaded:
    home, *others = places(request.options, published)

    def load(place: Path) -> Loaded:
        def check(made: Loaded) -> Loaded:
            return _checked(made, published, place, strict=place == home)

        return idx.load_folder(request, place, published.classes, check)

    for place in others:
        if idx.complete(place) and not idx.complete(home):
            try:
                return load(place)
            except NotAsPublished as error:
                raise UserError(
                    f"{error} is not that of {request.source.name} as it was published; to use "
                    f"these files as they are, say --data {printable('./' + str(place))}"
                ) from error
    return from_home(request, published, load)


def _checked(made: Loaded, published: Published, place: Path, strict: bool) -> Loaded:
    """What was read, if it is what was published; raises NotAsPublished.

    Args:
        strict: also where the content is not known, so that the files alone can tell.
    """
    splits = [split for split in (made.train, made.test) if split is not None]
    arrays = [array for split in splits for array in (split.x, split.labels) if array is not None]
    pairs = zip(published.files, published.content, arrays, strict=False)
    for file, known, array in pairs:
        if hashlib.sha256(array.astype(np.uint8).tobytes()).hexdigest() != known:
            raise NotAsPublished(printable(str(place / file.name)))
    if published.content:
        return made
    for file in published.files:
        if not file.is_in(place / file.name):
            if strict:
                raise NotAsPublished(printable(str(place / file.name)))
            return _noted(made, f"the files in {printable(str(place))} are not packed as they were")
    return made


def _noted(made: Loaded, found: str) -> Loaded:
    """With a note that what was found is not what was published, to the byte."""
    notes = (*made.report.notes, f"{found} published")
    return replace(made, report=replace(made.report, notes=notes))


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
    """The tar file, checked before it is decoded; raises NotAsPublished for one in the cache."""
    key = {"source": "cifar10", "files": [cache.stamp(tar)]}

    def read() -> Loaded:
        as_published = CIFAR10.files[0].is_in(tar)
        if not as_published and tar.parent == places(request.options, CIFAR10)[0]:
            raise NotAsPublished(printable(str(tar)))
        made = _read_tar(tar, request)
        return (
            made if as_published else _noted(made, f"{printable(str(tar))} is not packed as it was")
        )

    return cache.through(request.options, key, read)


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
