"""`mnist`, `fashion-mnist` and `cifar10` by name: a local copy, else a checked download.

A local copy is looked for in ``CACHE/downloads/NAME``, ``./NAME`` and ``./data/NAME``, and counts
where it is complete. What a name gives is what was published: the files are checked whenever they
are decoded, and what is damaged or missing in the cache is fetched again. CIFAR-10 is read in its
binary version (Krizhevsky's page), straight from the tar file; the Python version is pickled and
not touched.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from gentool import litter
from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources import idx
from gentool.data.sources.fetch import Download, FetchError, fetch
from gentool.errors import UserError, printable


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        mirrors: where its files may be had.
        files: as they are published.
        classes: the names of its labels.
        content: SHA-256 of the bytes in each file's array, so that copies packed in another way are
            known too; empty where nobody has them.
    """

    mirrors: tuple[str, ...]
    files: tuple[Download, ...]
    classes: tuple[str, ...]
    content: tuple[str, ...] = ()


class NotAsPublished(Exception):
    """A file is another than the published one; the message names it, safe to print."""


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
    content=(
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
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
    home, *others = _places(request)
    tar = CIFAR10.files[0]
    for folder in (home, *others):
        for inside in (folder, folder / "cifar-10-batches-bin"):
            if all((inside / name).is_file() for name in _CIFAR_TRAIN + _CIFAR_TEST):
                return _cifar_folder(request, inside)
        if folder != home and (folder / tar.name).is_file():
            return _cifar_tar(request, folder / tar.name)
    return _from_home(request, CIFAR10, lambda place: _cifar_tar(request, place / tar.name))


def _load_idx(request: Request, published: Published) -> Loaded:
    home, *others = _places(request)

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
    return _from_home(request, published, load)


def _from_home(request: Request, published: Published, load: Callable[[Path], Loaded]) -> Loaded:
    """Load from the cache folder, where what is missing, and once what is damaged, is fetched."""
    home = _download(request, published)
    try:
        return load(home)
    except (NotAsPublished, UserError) as error:
        wrong = [file for file in published.files if not _is_published(home / file.name, file)]
        if isinstance(error, UserError) and not wrong:
            raise
        problem = error
    try:
        return load(_download(request, published, wrong))
    except UserError:
        raise (problem if isinstance(problem, UserError) else _damaged(request, problem)) from None
    except NotAsPublished as error:
        raise _damaged(request, error) from error


def _damaged(request: Request, error: NotAsPublished) -> UserError:
    return UserError(
        f"{error} is not that of {request.source.name} as it was published, and it cannot be "
        "fetched again; remove it, or put the published one there"
    )


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
        if not _is_published(place / file.name, file):
            if strict:
                raise NotAsPublished(printable(str(place / file.name)))
            note = f"the files in {printable(str(place))} are not packed as they were published"
            return replace(made, report=replace(made.report, notes=(*made.report.notes, note)))
    return made


def _is_published(path: Path, file: Download) -> bool:
    """Whether a file is byte for byte the published one."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "md5").hexdigest() == file.md5


def _places(request: Request) -> tuple[Path, Path, Path]:
    name = request.source.name
    return _home(request), Path(name), Path("data") / name


def _home(request: Request) -> Path:
    return request.options.cache_folder() / "downloads" / request.source.name


def _download(request: Request, published: Published, again: Sequence[Download] = ()) -> Path:
    """Fetch what is missing into the cache folder; returns that folder. Raises UserError.

    Args:
        again: files that are there but damaged.
    """
    home, name = _home(request), request.source.name
    with litter.opened(home, marked=True) as folder:
        if folder is not None:
            litter.sweep(folder, litter.ASIDE)
    for file in published.files:
        if idx.present(home, file.name) and file not in again:
            continue
        try:
            litter.make_marked(home)
            fetch(file, published.mirrors, home, request.progress)
        except (FetchError, OSError) as error:
            files = ", ".join(file.name for file in published.files)
            state = "is damaged here" if file in again else "is not on this machine"
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{name} {state} and cannot be downloaded ({why}); put {files} "
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
    """The tar file, checked before it is decoded; raises NotAsPublished for one in the cache."""
    key = {"source": "cifar10", "files": [cache.stamp(tar)]}

    def read() -> Loaded:
        if tar.parent == _home(request) and not _is_published(tar, CIFAR10.files[0]):
            raise NotAsPublished(printable(str(tar)))
        return _read_tar(tar, request)

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
