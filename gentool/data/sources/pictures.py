"""`lfw`, `celeba` and `omniglot-28`: published archives of image files.

LFW (Huang et al. 2007) is a tar with a folder a person, CelebA (Liu et al. 2015) a zip with two
lists beside it, Omniglot (Lake et al. 2015) two zips with a folder an alphabet.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.decoding import decode
from gentool.data.decoding.listing import members
from gentool.data.decoding.worker import Archives, read
from gentool.data.decoding.zipdir import ZipDirectory
from gentool.data.registry import Request
from gentool.data.sources import images, tars
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published, check, load_published
from gentool.errors import UserError, printable

LFW = Published(
    name="lfw",
    mirrors=(),
    files=(
        Download(
            "lfw.tgz",
            180_566_744,
            sha256="055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
            url="https://ndownloader.figshare.com/files/5976018",
        ),
    ),
)

CELEBA = Published(
    name="celeba",
    mirrors=(),
    files=(
        Download(
            "img_align_celeba.zip",
            1_443_490_838,
            sha256="46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
        ),
        Download(
            "list_attr_celeba.txt",
            26_721_026,
            sha256="f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
        ),
        Download(
            "list_eval_partition.txt",
            2_836_386,
            sha256="fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
        ),
    ),
    page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
)

OMNIGLOT = Published(
    name="omniglot-28",
    mirrors=("https://github.com/brendenlake/omniglot/raw/master/python/",),
    files=(
        Download(
            "images_background.zip",
            9_464_212,
            sha256="ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        Download(
            "images_evaluation.zip",
            6_462_886,
            sha256="1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    ),
)

_SIDE = 28


def load_lfw(request: Request) -> Loaded:
    """Every person is a class; the original images, which are not aligned."""

    def load_from(folder: Path) -> Loaded:
        of_tar = replace(request, path=folder / LFW.files[0].name)
        return tars.load(of_tar, lambda: check(folder, LFW))

    return load_published(request, LFW, load_from)


def load_celeba(request: Request) -> Loaded:
    """The aligned and cropped images, their attributes and their split."""

    def load_from(folder: Path) -> Loaded:
        of_zip = replace(request, path=folder / CELEBA.files[0].name)
        return images.load_zip(of_zip, lambda: check(folder, CELEBA))

    return load_published(request, CELEBA, load_from)


def load_omniglot(request: Request) -> Loaded:
    """All characters, white on black, 28×28; the alphabets are the classes."""

    def load_from(folder: Path) -> Loaded:
        files = [folder / file.name for file in OMNIGLOT.files]
        decoder = decode.VERSION
        key = {"source": "omniglot", "files": [*map(cache.stamp, files)], "decoder": decoder}

        def read_both() -> Loaded:
            check(folder, OMNIGLOT)
            return _omniglot(files, request)

        return cache.through(request.options, key, read_both)

    return load_published(request, OMNIGLOT, load_from)


def _omniglot(files: list[Path], request: Request) -> Loaded:
    """The zips' images, ``FOLDER/ALPHABET/CHARACTER/NUMBER.png``, in the order of their names."""
    target = decode.Target((_SIDE, _SIDE), 1, "stretch")
    alphabets: list[str] = []
    pixels: list[np.ndarray] = []
    for file in files:
        found = members(ZipDirectory(file)).entries
        archives = Archives([str(file)])
        for row in sorted(range(len(found)), key=found.names.__getitem__):
            name, where, *_ = found[row]
            try:
                pixels.append(255 - decode.decode(read(where, archives), target).pixels)
            except decode.BadImageError as error:
                shown = printable(f"{file}[{name}]")
                raise UserError(f"{shown} {error}; remove the zip and fetch it again") from error
            alphabets.append(name.split("/")[-3] if name.count("/") > 1 else "")
            if row % 1024 == 0:
                request.progress("reading omniglot", len(pixels), 0)
        archives.close()
    classes = sorted(set(alphabets))
    number = {name: k for k, name in enumerate(classes)}
    labels = np.array([number[name] for name in alphabets], np.int64)
    return Loaded(Split(np.stack(pixels), labels), None, tuple(map(printable, classes)))
