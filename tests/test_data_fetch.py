"""`gentool data fetch`, downloads that break off, and the published sets that are pictures."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from file_server import Server
from image_files import encoded, make_zip, noise
from PIL import Image

from gentool.data import DataOptions, load
from gentool.data.registry import sources
from gentool.data.sources import fetch, named, pictures, stl10, svhn
from gentool.data.sources.fetch import Download, FetchError
from gentool.data.sources.published import Published
from gentool.errors import UserError

Cli = Callable[..., Result]
DATA = random.Random(0).randbytes(900_000)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def facts(name: str, data: bytes) -> Download:
    return Download(name, len(data), sha256=hashlib.sha256(data).hexdigest())


def get(server: Server, folder: Path, data: bytes = DATA) -> Path:
    return fetch.fetch(facts("a.bin", data), (server.url,), folder, lambda *_: None)


def test_a_download_that_breaks_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.files, server.breaks = {"a.bin": DATA}, 200_000
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.begins == [0, 200_000, 400_000, 600_000, 800_000]
    assert [one.name for one in tmp_path.glob("*.part")] == []


def test_it_goes_on_at_the_next_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files, server.breaks = {"a.bin": DATA}, 500_000
    monkeypatch.setattr(fetch, "MOST_BREAKS", 1)
    with pytest.raises(FetchError):
        get(server, tmp_path)
    server.breaks = None
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.begins == [0, 500_000]


@pytest.mark.parametrize("left", [b"x" * 70_000, DATA + b"x", DATA[:-1] + b"!", b""])
def test_a_beginning_of_another_file_is_replaced(
    server: Server, tmp_path: Path, left: bytes
) -> None:
    server.files = {"a.bin": DATA}
    (tmp_path / "a.bin.part").write_bytes(left)
    assert get(server, tmp_path).read_bytes() == DATA
    assert len(server.begins) <= 2


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.files, server.ranges = {"a.bin": DATA}, False
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    assert get(server, tmp_path).read_bytes() == DATA


def test_a_whole_part_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(DATA)
    path = fetch.fetch(facts("a.bin", DATA), ("http://127.0.0.1:9/",), tmp_path, lambda *_: None)
    assert path.read_bytes() == DATA


def test_a_wrong_file_is_removed(server: Server, tmp_path: Path) -> None:
    server.files = {"a.bin": DATA[:-1] + b"!"}
    with pytest.raises(FetchError, match="checksum"):
        get(server, tmp_path)
    assert not list(tmp_path.glob("a.bin*"))


def test_no_link_is_followed_and_no_two_fetch_at_once(server: Server, tmp_path: Path) -> None:
    server.files = {"a.bin": DATA}
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for make in (os.symlink, os.link):
        make(precious, tmp_path / "a.bin.part")
        with pytest.raises(FetchError):
            get(server, tmp_path)
        (tmp_path / "a.bin.part").unlink()
    assert precious.read_text() == "precious"
    with (tmp_path / "a.bin.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process"):
            get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == DATA


def publish(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, files: dict[str, bytes], url: str
) -> None:
    base: Published = getattr(module, name)
    found = tuple(facts(one, data) for one, data in files.items())
    changed = dataclasses.replace(base, files=found, mirrors=(url,), content=())
    monkeypatch.setattr(module, name, changed)


def test_the_verb(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    files = {one.name: random.Random(k).randbytes(99) for k, one in enumerate(named.KMNIST.files)}
    server.files = files
    publish(monkeypatch, named, "KMNIST", files, server.url)
    first = cli("data", "fetch", "kmnist")
    assert first.code == 0 and first.out.count("fetched") == 4
    home = tmp_path / "cache" / "downloads" / "kmnist"
    (home / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    again = cli("data", "fetch", "kmnist", "--json")
    assert '"fetched": [\n    "t10k-labels-idx1-ubyte.gz"\n  ]' in again.out
    assert {one.name for one in home.iterdir()} >= set(files)
    assert cli("data", "fetch", "kmnist").out.count("there already") == 4


@pytest.mark.parametrize(
    ("name", "word"),
    [("glyphs:50", "needs no download"), ("kmnst", "kmnist"), ("celeba", "people alone")],
)
def test_the_verb_refuses(cli: Cli, name: str, word: str) -> None:
    refused = cli("data", "fetch", name)
    assert refused.code == 2 and word in refused.err and "Traceback" not in refused.err


def test_every_download_says_what_is_published() -> None:
    from pkgutil import resolve_name

    for source in sources():
        if source.kind == "download" and not source.argument.startswith("PATH"):
            found = resolve_name(source.published) if source.published else None
            assert found is None or all(one.size and (one.md5 or one.sha256) for one in found.files)
    assert sum(bool(source.published) for source in sources()) == 10


def tar_of(path: Path, files: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path.read_bytes()


def test_lfw(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["Ada_L", "Bob_M"] * 6
    inside = {f"lfw/{n}/{n}_{k:04d}.jpg": encoded(noise(), "JPEG") for k, n in enumerate(names)}
    server.files = {"lfw.tgz": tar_of(tmp_path / "x.tgz", inside)}
    publish(monkeypatch, pictures, "LFW", server.files, server.url)
    data = load(DataOptions(data="lfw", size="4"))
    assert data.spec.classes == ("Ada_L", "Bob_M") and len(data.train) + len(data.test) == 12
    server.files = {}
    assert load(DataOptions(data="lfw", size="4")).fingerprint == data.fingerprint


def test_celeba_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [f"{k:06d}.jpg" for k in range(1, 13)]
    zipped = make_zip(
        tmp_path / "z", {f"img_align_celeba/{n}": encoded(noise(), "JPEG") for n in names}
    )
    attributes = "12\nMale Hat\n" + "".join(
        f"{n} {-1 if k % 2 else 1} 1\n" for k, n in enumerate(names)
    )
    parts = "".join(f"{n} {k // 6 * 2}\n" for k, n in enumerate(names))
    files = {
        "img_align_celeba.zip": Path(zipped).read_bytes(),
        "list_attr_celeba.txt": attributes.encode(),
        "list_eval_partition.txt": parts.encode(),
    }
    found = tuple(facts(one, data) for one, data in files.items())
    monkeypatch.setattr(pictures, "CELEBA", dataclasses.replace(pictures.CELEBA, files=found))
    with pytest.raises(UserError, match=r"given to people alone.*put img_align_celeba.zip"):
        load(DataOptions(data="celeba"))
    place = tmp_path / "work" / "data" / "celeba"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    data = load(DataOptions(data="celeba"))
    assert [one.name for one in data.spec.attributes] == ["Male", "Hat"]
    assert len(data.train) == len(data.test) == 6
    (place / "list_attr_celeba.txt").write_bytes(files["list_attr_celeba.txt"] + b" ")
    with pytest.raises(UserError, match=r"list_attr_celeba.txt is not that of celeba"):
        load(DataOptions(data="celeba"))


def test_omniglot(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ink = Image.new("1", (105, 105), 1)
    ink.paste(0, (40, 0, 60, 105))
    server.files = {}
    for name, alphabet in (
        ("images_background.zip", "Greek"),
        ("images_evaluation.zip", "Mongolian"),
    ):
        folder = name.removesuffix(".zip")
        inside = {
            f"{folder}/{alphabet}/character0{k % 3}/{k:04d}_01.png": encoded(ink) for k in range(9)
        }
        server.files[name] = Path(make_zip(tmp_path / name, inside)).read_bytes()
    publish(monkeypatch, pictures, "OMNIGLOT", server.files, server.url)
    data = load(DataOptions(data="omniglot-28"))
    assert data.spec.classes == ("Greek", "Mongolian") and data.spec.shape == (1, 28, 28)
    assert len(data.train) + len(data.test) == 18
    picture = data.train.x[0, 0]
    assert picture[14, 13] >= 250 and picture[14, 2] == 0, "white on black"


def test_stl10(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, n in (("TRAIN", 6), ("TEST", 4), ("UNLABELED", 5)):
        monkeypatch.setattr(stl10, name, n)
    monkeypatch.setattr(stl10, "_AT_ONCE", 2)
    rng = np.random.default_rng(0)
    images = {
        n: rng.integers(0, 256, (k, *stl10.SHAPE), dtype=np.uint8)
        for n, k in (("train", 6), ("test", 4), ("unlabeled", 5))
    }
    inside = {
        f"stl10_binary/{n}_X.bin": x.transpose(0, 1, 3, 2).tobytes() for n, x in images.items()
    }
    inside |= {
        "stl10_binary/train_y.bin": bytes([1, 2, 3, 10, 1, 1]),
        "stl10_binary/test_y.bin": bytes([4, 4, 4, 4]),
    }
    server.files = {"stl10_binary.tar.gz": tar_of(tmp_path / "x.tgz", inside)}
    publish(monkeypatch, stl10, "STL10", server.files, server.url)
    data = load(DataOptions(data="stl10"))
    assert np.array_equal(data.train.x, images["train"]) and np.array_equal(
        data.test.x, images["test"]
    )
    assert data.train.labels is not None and data.train.labels.tolist() == [0, 1, 2, 9, 0, 0]
    more = load(DataOptions(data="stl10:unlabeled"))
    assert np.array_equal(more.train.x, np.concatenate([images["unlabeled"], images["train"]]))
    assert more.train.labels is None and not more.spec.classes
    with pytest.raises(UserError, match="no part of stl10"):
        load(DataOptions(data="stl10:some"))


def test_svhn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    io_of_scipy = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (32, 32, 3, 6), dtype=np.uint8)
    y = np.array([[1], [2], [10], [9], [3], [10]], np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        file = io.BytesIO()
        io_of_scipy.savemat(file, {"X": x, "y": y}, do_compression=True)
        server.files[name] = file.getvalue()
    publish(monkeypatch, svhn, "SVHN", server.files, server.url)
    data = load(DataOptions(data="svhn"))
    assert np.array_equal(data.train.x, x.transpose(3, 2, 0, 1))
    assert data.train.labels is not None and data.train.labels.tolist() == [1, 2, 0, 9, 3, 0]
