"""mnist, fashion-mnist and cifar10 by name, against a small server of our own."""

import dataclasses
import gzip
import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from file_server import Server

from gentool import litter
from gentool.data import DataOptions, load
from gentool.data.sources import fetch, named
from gentool.data.sources.fetch import Download
from gentool.errors import UserError

RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "downloads"


@pytest.fixture
def server():
    with Server() as running:
        yield running


def idx_files() -> dict[str, bytes]:
    files = {}
    for split, n in (("train", 20), ("t10k", 6)):
        images = RNG.integers(0, 256, (n, 4, 4), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            files[f"{split}-{kind}-ubyte.gz"] = gzip.compress(header + array.tobytes())
    return files


def published(base: named.Published, files: dict[str, bytes], *mirrors: str) -> named.Published:
    """`base` with the sizes and checksums of other files, and other places to get them."""
    facts = tuple(Download(n, len(d), hashlib.md5(d).hexdigest()) for n, d in files.items())
    return dataclasses.replace(base, files=facts, mirrors=mirrors, content=())


def refused(name: str) -> str:
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_download_once_then_local(server, home, monkeypatch):
    server.files = idx_files()
    dead = "http://127.0.0.1:9/"  # the first mirror does not answer
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, server.files, dead, server.url))
    seen = []
    data = load(DataOptions(data="mnist"), progress=lambda *what: seen.append(what))
    assert len(data.train) == 20 and len(data.test) == 6 and data.name == "mnist"
    assert len(server.requests) == 4 and any("downloading" in what for what, *_ in seen)
    assert {p.name for p in (home / "mnist").iterdir()} == {*server.files, litter.MARK}
    server.files = {}
    again = load(DataOptions(data="mnist", cache=None))
    assert again.fingerprint == data.fingerprint and len(server.requests) == 4


@pytest.mark.parametrize("how", ["checksum", "short", "long", "missing"])
def test_a_wrong_file_is_not_kept(server, home, monkeypatch, how):
    files = idx_files()
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, files, server.url))
    first = next(iter(files))
    if how == "checksum":
        files[first] = files[first][:-1] + bytes([files[first][-1] ^ 1])
    elif how == "short":
        files[first] = files[first][:-1]
    elif how == "long":
        files[first] += bytes(50 * 2**20)
    else:
        del files[first]
    server.files = files
    message = refused("mnist")
    expected = {
        "checksum": "checksum",
        "short": "ended after",
        "long": "longer",
        "missing": "Not Found",
    }
    assert expected[how] in message and first in message and str(home / "mnist") in message
    assert [p.name for p in (home / "mnist").iterdir()] == [litter.MARK]


def test_offline_says_which_file_to_put_where(home, monkeypatch):
    for name, base in (
        ("mnist", "MNIST"),
        ("fashion-mnist", "FASHION_MNIST"),
        ("cifar10", "CIFAR10"),
    ):
        table = getattr(named, base)
        offline = dataclasses.replace(table, mirrors=("http://127.0.0.1:9/",))
        monkeypatch.setattr(named, base, offline)
        message = refused(name)
        assert str(home / name) in message
        assert all(file.name in message for file in table.files)


def test_only_the_web_is_asked(home, monkeypatch, tmp_path):
    files = idx_files()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, files, f"file://{tmp_path}/"))
    assert "http" in refused("mnist")


def test_a_silent_server_does_not_hang(monkeypatch, home):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.2)
        monkeypatch.setattr(named, "MNIST", published(named.MNIST, idx_files(), mirror))
        assert "timed out" in refused("mnist")


@pytest.mark.parametrize("place", ["mnist", "data/mnist"])
def test_a_local_copy_needs_no_network(place, monkeypatch):
    monkeypatch.setattr(named, "MNIST", dataclasses.replace(named.MNIST, mirrors=(), content=()))
    Path(place).mkdir(parents=True)
    for name, data in idx_files().items():
        (Path(place) / name).write_bytes(data)
    data = load(DataOptions(data="mnist"))
    assert len(data.train) == 20
    assert "not packed as they were published" in data.report.notes[0]


@pytest.mark.parametrize("missing", range(4))
def test_an_interrupted_download_is_completed_or_refused(server, home, monkeypatch, missing):
    """As a first download that was stopped leaves it: never a mnist without labels or test."""
    files = idx_files()
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, files, server.url))
    (home / "mnist").mkdir(parents=True)
    for name in list(files)[: missing + 1]:
        (home / "mnist" / name).write_bytes(files[name])
    left = list(files)[missing + 1 :]
    if left:
        assert left[0] in refused("mnist")
    server.files = files
    data = load(DataOptions(data="mnist"))
    assert data.train.labels is not None and data.test.labels is not None and len(data.test) == 6


@pytest.mark.parametrize("how", ["other content", "cut", "empty"])
def test_a_damaged_download_is_fetched_again(server, home, monkeypatch, how):
    files = idx_files()
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, files, server.url))
    (home / "mnist").mkdir(parents=True)
    for name, content in files.items():
        (home / "mnist" / name).write_bytes(content)
    name = next(iter(files))
    damaged = {"other content": idx_files()[name], "cut": files[name][:-9], "empty": b""}[how]
    (home / "mnist" / name).write_bytes(damaged)
    refused("mnist")
    server.files = files
    load(DataOptions(data="mnist"))
    assert (home / "mnist" / name).read_bytes() == files[name] and server.requests[-1] == name


def test_an_incomplete_local_copy_is_not_taken(home, monkeypatch):
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, idx_files(), "http://127.0.0.1:9/"))
    Path("mnist").mkdir()
    for name, content in list(idx_files().items())[:1]:
        (Path("mnist") / name).write_bytes(content)
    assert "not on this machine" in refused("mnist")


def test_other_digits_are_no_mnist(home):
    """Complete files of the right names, with a content that is not the published one."""
    Path("mnist").mkdir()
    for name, content in idx_files().items():
        (Path("mnist") / name).write_bytes(content)
    assert "--data ./mnist" in refused("mnist")
    assert len(load(DataOptions(data="./mnist")).train) == 20


def test_the_published_content_however_it_is_packed(mnist, home):
    """The real files, not zipped."""
    Path("mnist").mkdir()
    for name in (file.name for file in named.MNIST.files):
        (Path("mnist") / name.removesuffix(".gz")).write_bytes(
            gzip.decompress((mnist / name).read_bytes())
        )
    data = load(DataOptions(data="mnist"))
    assert len(data.train) == 60_000 and len(data.test) == 10_000 and not data.report.notes


def test_a_killed_download_leaves_no_litter(server, home, monkeypatch):
    files = idx_files()
    monkeypatch.setattr(named, "MNIST", published(named.MNIST, files, server.url))
    refused("mnist")
    torn, mine = (home / "mnist" / n for n in (".train-images.abcd1234.tmp.gz", ".notes.tmp"))
    for path in (torn, mine):
        path.write_bytes(b"")
        os.utime(path, (1, 1))
    server.files = files
    load(DataOptions(data="mnist"))
    assert not torn.exists() and mine.exists()


@pytest.fixture
def small_cifar(monkeypatch):
    """Batches of 10 images instead of 10,000."""
    monkeypatch.setattr(named, "_CIFAR_BATCH", 10 * 3073)
    batches = {}
    for name in named._CIFAR_TRAIN + named._CIFAR_TEST:
        rows = RNG.integers(0, 256, (10, 3073), dtype=np.uint8)
        rows[:, 0] %= 10
        batches[name] = rows.tobytes()
    return batches


def tar_of(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def test_cifar_from_the_tar_and_unpacked(server, home, monkeypatch, small_cifar):
    inside = {f"cifar-10-batches-bin/{n}": d for n, d in small_cifar.items()}
    server.files = {"cifar-10-binary.tar.gz": tar_of({"../evil.txt": b"x", **inside})}
    monkeypatch.setattr(named, "CIFAR10", published(named.CIFAR10, server.files, server.url))
    data = load(DataOptions(data="cifar10"))
    assert data.spec.shape == (3, 32, 32) and data.spec.classes[3] == "cat"
    first = np.frombuffer(small_cifar["data_batch_1.bin"], np.uint8).reshape(10, 3073)
    assert np.array_equal(data.train.x[:10].reshape(10, -1), first[:, 1:])
    assert data.train.labels[:10].tolist() == first[:, 0].tolist()
    assert len(data.train) == 50 and len(data.test) == 10
    assert not list(home.parent.parent.rglob("evil.txt"))
    for name, content in inside.items():
        path = Path("cifar10") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (home / "cifar10" / "cifar-10-binary.tar.gz").unlink()
    assert load(DataOptions(data="cifar10")).fingerprint == data.fingerprint
    assert not data.report.notes


def test_a_cifar_packed_anew_is_read_with_a_note(home, small_cifar):
    Path("cifar10").mkdir()
    Path("cifar10/cifar-10-binary.tar.gz").write_bytes(tar_of(small_cifar))
    for _ in ("decoded", "from the cache"):
        notes = load(DataOptions(data="cifar10")).report.notes
        assert "is not packed as it was published" in notes[0]


def test_a_cifar_tar_that_is_not_the_binary_version(home, small_cifar):
    Path("cifar10").mkdir()
    tar = Path("cifar10") / "cifar-10-binary.tar.gz"
    good = tar_of(small_cifar)
    for content, expected in (
        (tar_of({"cifar-10-batches-py/data_batch_1": b"x"}), "lacks data_batch_1.bin"),
        (good[: len(good) // 2], "damaged"),
        (b"no tar at all", "damaged"),
        (tar_of({**small_cifar, "data_batch_2.bin": b"short"}), "batch has"),
        (tar_of({**small_cifar, "data_batch_2.bin": b"\xff" * 30730}), "label above 9"),
    ):
        tar.write_bytes(content)
        assert expected in refused("cifar10")
