"""Zips and images made to do harm: one sentence, bounded memory, nothing written."""

import io
import resource
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gentool.data import DataOptions, load
from gentool.data.decoding import decode
from gentool.data.decoding.decode import BadImageError, Target
from gentool.data.decoding.zipdir import ZipDirectory
from gentool.errors import UserError

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def png(side: int = 4) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def refused(path: Path, **options) -> str:
    before = {p for p in path.parent.iterdir() if p.name != "cache"}
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=str(path), **options))
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert {p for p in path.parent.iterdir() if p.name != "cache"} == before
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/etc/evil.png",
        "C:/evil.png",
        "..\\evil.png",
        "a\\..\\b.png",
    ],
)
def test_names_that_lead_outside(tmp_path, name):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ok.png", png())
        archive.writestr(name, png())
    assert "leads outside" in refused(path)


def test_dots_in_plain_names_are_fine(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a..b/1..png", "a..b/2.png", "c/...d.png", "c/e.png"):
            archive.writestr(name, png())
    assert len(load(DataOptions(data=str(path), holdout=0)).train) == 3  # ...d.png is hidden


def test_links_encryption_and_odd_methods_are_broken_files(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("lzma.png", png(), zipfile.ZIP_LZMA)
        archive.writestr("locked.png", png())
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    found = load(DataOptions(data=str(path), on_bad_file="skip"))
    reasons = {bad.name: bad.reason for bad in found.report.broken}
    assert "symbolic link" in reasons["link.png"]
    assert "method 14" in reasons["lzma.png"] and "encrypted" in reasons["locked.png"]
    assert len(found.train) == 1


def test_a_bomb_inside_a_zip(tmp_path):
    """A PNG of a hundred million zeros behind an honest directory, and behind a lying one."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.png", png())
        archive.writestr("bomb.png", bytes(140 * 2**20))
    assert path.stat().st_size < 10**6
    found = load(DataOptions(data=str(path), on_bad_file="skip"))
    assert "larger than" in found.report.broken[0].reason
    size = (140 * 2**20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (1000).to_bytes(4, "little")))
    tracemalloc.start()
    found = load(DataOptions(data=str(path), on_bad_file="skip"))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert "damaged" in found.report.broken[0].reason


def zip_of(entries: int, name: bytes = b"%07d.png", local: bytes = b"") -> bytes:
    """A zip whose entries all point at the same data, written by hand."""
    body = local or png()
    stored = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, zlib.crc32(body), len(body),
                         len(body), 0, 0) + body  # fmt: skip
    one = struct.Struct("<4s6H3L5H2L")
    directory = bytearray()
    for k in range(entries):
        called = name % k
        directory += one.pack(b"PK\x01\x02", 20, 20, 0, 0, 0, 0, zlib.crc32(body), len(body),
                              len(body), len(called), 0, 0, 0, 0, 0, 0) + called  # fmt: skip
    start, size = len(stored), len(directory)
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, start
    )
    end64 += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return stored + directory + end64 + end


def test_overlapping_entries(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_of(3000))
    assert "overlap" in refused(path)


def test_a_million_entries(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_of(1_000_001))
    assert "1,000,001 entries" in refused(path)


def test_a_count_that_lies(tmp_path):
    """The end record says 5 entries; the directory has 20,000, without a stored byte."""
    data = bytearray(zip_of(20_000, local=b"\0"))
    at = data.rindex(b"PK\x06\x06")
    data[at + 24 : at + 40] = struct.pack("<2Q", 5, 5)
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    refused(path)


def test_zip64_is_read(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_of(1))
    with zipfile.ZipFile(path) as archive:  # the standard library agrees on what it holds
        names = archive.namelist()
    assert [entry.name for entry in ZipDirectory(path).entries()] == names == ["0000000.png"]
    assert len(load(DataOptions(data=str(path))).train) == 1


def test_data_before_the_zip_as_in_a_self_extractor(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())
    assert len(load(DataOptions(data=str(path))).train) == 1


def test_what_is_no_zip(tmp_path):
    path = tmp_path / "x.zip"
    for content in (b"", b"PK\x03\x04", b"text" * 9, b"PK\x05\x06" + b"\xff" * 18):
        path.write_bytes(content)
        refused(path)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.png", png(50))
    path.write_bytes(whole.getvalue()[:-40])
    assert "cut short" in refused(path)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    path.write_bytes(empty.getvalue())
    assert "no image" in refused(path)


GOOD_ZIP = io.BytesIO()
with zipfile.ZipFile(GOOD_ZIP, "w", zipfile.ZIP_DEFLATED) as _archive:
    for _name in ("a/1.png", "b/2.png", "b/3.jpg", "b/notes.txt"):
        _archive.writestr(_name, png())

CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6)


def changed(content: bytes, changes: list[tuple[float, int]]) -> bytes:
    data = bytearray(content)
    for where, value in changes:
        data[min(int(where * len(data)), len(data) - 1)] = value
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=250)
@given(CHANGES)
def test_mutated_zips_load_or_are_one_sentence(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("mutated") / "x.zip"
    path.write_bytes(changed(GOOD_ZIP.getvalue(), changes))
    try:
        load(DataOptions(data=str(path), cache=str(path.parent / "c"), on_bad_file="skip"))
    except UserError as error:
        assert "\n" not in str(error)


def _images() -> list[bytes]:
    result = []
    rgb = Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        file = io.BytesIO()
        rgb.save(file, format)
        result.append(file.getvalue())
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=600)
@given(st.sampled_from(_images()), CHANGES, st.booleans())
def test_mutated_images_decode_or_are_broken(content, changes, resize):
    target = Target((8, 8), 3, "crop") if resize else Target()
    try:
        found = decode.decode(changed(content, changes), target)
    except BadImageError as error:
        assert "\n" not in str(error)
    else:
        assert found.pixels.dtype == np.uint8 and found.pixels.shape[0] == 3


@pytest.mark.slow
def test_the_largest_image_allowed_stays_under_a_gigabyte(tmp_path):
    """50 megapixels of RGBA, the dearest mode, through every step, measured in its own process."""
    side = int(decode.MAX_PIXELS**0.5)
    path = tmp_path / "big.png"
    Image.new("RGBA", (side, side), (9, 8, 7, 100)).save(path, compress_level=1)
    code = (
        "import re, resource, sys; from gentool.data import *;"
        f"d = load(DataOptions(data={str(tmp_path)!r}, size='64'));"
        # ru_maxrss of a child begins at its parent's; VmHWM is of this program alone.
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if sys.platform == 'darwin' "
        "else re.search(r'VmHWM:\\s*([0-9]+) kB', open('/proc/self/status').read())[1];"
        "print(d.train.x.mean(), peak)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    mean, peak = map(float, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024
    assert mean == pytest.approx(255 * 155 / 255 + 8 * 100 / 255, abs=1)
    assert peak * unit < 1e9, resource.__name__
