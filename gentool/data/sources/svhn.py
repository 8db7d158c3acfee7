"""`svhn`: house numbers from the street, 32×32 RGB (Netzer et al. 2011), in MATLAB's files.

They are read by SciPy (``gentool[svhn]``), after their checksum has been found right. The third
file, `extra`, is left out.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.registry import Request
from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published, check, load_published
from gentool.errors import UserError, printable

SVHN = Published(
    name="svhn",
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
    files=(
        Download(
            "train_32x32.mat",
            182_040_794,
            sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        ),
        Download(
            "test_32x32.mat",
            64_275_384,
            sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        ),
    ),
    classes=tuple("0123456789"),
)


def load(request: Request) -> Loaded:
    def load_from(folder: Path) -> Loaded:
        files = [folder / file.name for file in SVHN.files]
        key = {"source": "svhn", "files": [cache.stamp(file) for file in files]}

        def read() -> Loaded:
            if importlib.util.find_spec("scipy") is None:
                raise UserError("svhn needs SciPy to read its files: pip install 'gentool[svhn]'")
            check(folder, SVHN)
            return Loaded(_split(files[0]), _split(files[1]), SVHN.classes)

        return cache.through(request.options, key, read)

    return load_published(request, SVHN, load_from)


def _split(path: Path) -> Split:
    """X uint8 (32, 32, 3, N) and y (N, 1), where 10 stands for 0."""
    from scipy.io import loadmat

    found = loadmat(path, variable_names=("X", "y"))
    x, y = found.get("X"), found.get("y")
    if x is None or y is None or x.dtype != np.uint8 or x.shape[:3] != (32, 32, 3):
        raise UserError(f"{printable(str(path))} holds no images of SVHN; fetch it again")
    pixels = np.ascontiguousarray(x.transpose(3, 2, 0, 1))
    return Split(pixels, y.reshape(-1).astype(np.int64) % 10)
