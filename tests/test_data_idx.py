"""IDX files: the real ones, and hostile ones."""

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data import DataOptions, load
from gentool.data.sources.idx import read
from gentool.errors import UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def idx_bytes(array: np.ndarray, claimed: tuple[int, ...] | None = None) -> bytes:
    shape = claimed or array.shape
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + array.tobytes()


def folder(tmp_path: Path, images: bytes, labels: bytes | None = None) -> str:
    place = tmp_path / "idx"
    place.mkdir(exist_ok=True)
    (place / "train-images-idx3-ubyte").write_bytes(images)
    if labels is not None:
        (place / "train-labels-idx1-ubyte").write_bytes(labels)
    return str(place)


def refused(data: str) -> str:
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=data))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mnist_pixels_are_exact(mnist):
    data = load(DataOptions(data=str(mnist)))
    assert data.name == "mnist" and data.spec.shape == (1, 28, 28)
    # MD5 of the published, uncompressed files: a 16-byte header, then the pixels.
    for split, n, md5 in (
        (data.train, 60_000, "6bbc9ace898e44ae57da46a324031adb"),
        (data.test, 10_000, "2646ac647ad5339dbf082846283269ea"),
    ):
        header = struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28)
        assert hashlib.md5(header + split.x.tobytes()).hexdigest() == md5
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_folder_without_test_files_is_split(tmp_path):
    x = np.arange(50 * 4, dtype=np.uint8).reshape(50, 2, 2)
    y = np.arange(50, dtype=np.uint8) % 3
    place = folder(tmp_path, gzip.compress(idx_bytes(x)), idx_bytes(y))  # gzip, whatever its name
    data = load(DataOptions(data=place, holdout=0.2))
    assert len(data.train) == 40 and len(data.test) == 10
    assert data.spec.classes == ("0", "1", "2")
    for split in (data.train, data.test):  # labels stay with their images
        assert np.array_equal(split.labels, (split.x[:, 0, 0, 0] // 4) % 3)
    both = np.concatenate([data.train.x, data.test.x])[:, 0, 0, 0]
    assert sorted(both.tolist()) == sorted(x[:, 0, 0].tolist())


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    few = np.zeros((2, 28, 28), np.uint8)
    for claimed in ((3, 28, 28), (2**17, 28, 28), (2**32 - 1,) * 3, (2**31, 2, 2)):
        tracemalloc.start()
        message = refused(folder(tmp_path, idx_bytes(few, claimed)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "promises" in message or "asks for" in message
        assert peak < 20e6


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path):
    few = np.zeros((2, 28, 28), np.uint8)
    bomb = gzip.compress(idx_bytes(few) + bytes(200 * 2**20))
    assert len(bomb) < 10**6
    tracemalloc.start()
    assert "more bytes than its header says" in refused(folder(tmp_path, bomb))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_gzip_bomb_with_an_honest_header(tmp_path):
    bomb = gzip.compress(
        idx_bytes(np.zeros((1, 1, 1), np.uint8), (1000, 1000, 1000)) + bytes(10**7)
    )
    tracemalloc.start()
    assert "made to do harm" in refused(folder(tmp_path, bomb))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_files_that_are_no_idx(tmp_path):
    x = np.zeros((4, 2, 2), np.uint8)
    assert "not an IDX file" in refused(folder(tmp_path, b"hello world, this is text"))
    assert "not an IDX file" in refused(folder(tmp_path, b""))
    assert "rank 2" in refused(folder(tmp_path, idx_bytes(x[0])))
    assert "cut short" in refused(folder(tmp_path, idx_bytes(x)[:10]))
    assert "cut short" in refused(folder(tmp_path, idx_bytes(x)[:-1]))
    assert "no image" in refused(folder(tmp_path, idx_bytes(x[:0])))
    assert "damaged gzip" in refused(folder(tmp_path, gzip.compress(idx_bytes(x))[:-9]))
    assert "damaged gzip" in refused(folder(tmp_path, b"\x1f\x8b" + bytes(40)))
    wrong = idx_bytes(np.zeros(3, np.uint8))
    assert "3 labels for 4 images" in refused(folder(tmp_path, idx_bytes(x), wrong))


@settings(max_examples=150)
@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_an_array_or_one_sentence(tmp_path_factory, data, zipped):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(gzip.compress(data) if zipped else data)
    try:
        array = read(path, 3)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert array.tobytes() == data[16:]
