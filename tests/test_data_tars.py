"""Tars of images: sidecars, shards, compression, and hostile files."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from image_files import awkward, make_folder
from PIL import Image

from gentool.data import DataOptions, load
from gentool.data.decoding import pool, tardir
from gentool.errors import UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def png(k: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (k, 255 - k, 3)).save(file, "PNG")
    return file.getvalue()


def packed(
    path: Path, files: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def example(k: int, name: str = "{:06d}") -> list[tuple[str, bytes]]:
    said = {"smile": k % 2, "age": 20 + k, "split": "test" if k >= 30 else "train"}
    stem = name.format(k)
    return [
        (f"{stem}.json", json.dumps(said).encode()),
        (f"{stem}.png", png(k)),
        (f"{stem}.cls", str(k % 3).encode()),
    ]


def refused(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        load(DataOptions(data=str(path)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


LONG = "a-folder-with-a-long-name/" * 5 + "{:06d}"


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["{:06d}", LONG, "größe-{:06d}"])
def test_sidecars_say_what_their_image_is(tmp_path: Path, format: int, name: str) -> None:
    for shard in range(2):
        files = [file for k in range(20 * shard, 20 * shard + 20) for file in example(k, name)]
        packed(tmp_path / "set" / f"shard-{shard:03d}.tar", files, format)
    data = load(DataOptions(data=str(tmp_path / "set")))
    assert (len(data.train), len(data.test)) == (30, 10) and data.spec.classes == ("0", "1", "2")
    smile, age = data.spec.attributes
    assert (smile.kind, age.kind) == ("binary", "continuous")
    for split in (data.train, data.test):
        k = split.x[:, 0, 0, 0].astype(int)
        assert split.labels is not None and split.attributes is not None
        assert np.array_equal(split.labels, k % 3)
        assert np.array_equal(split.attributes[:, 0], k % 2)
        np.testing.assert_allclose(split.attributes[:, 1] * age.scale + age.mean, 20 + k, rtol=1e-5)
    pattern = load(DataOptions(data=str(tmp_path / "set" / "shard-{000..001}.tar")))
    assert pattern.fingerprint == data.fingerprint
    assert "lacks shard-002.tar" in refused(tmp_path / "set" / "shard-{000..002}.tar")


def test_compressed_shards_are_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    plain = packed(tmp_path / "a.tar", [file for k in range(40) for file in example(k)])
    data = load(DataOptions(data=str(plain)))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    zipped = load(DataOptions(data=str(tmp_path / "b.tar.gz")))
    assert zipped.fingerprint == data.fingerprint
    left = [one.name for one in (tmp_path / "cache" / "decoded").iterdir() if one.is_dir()]
    assert len(left) == 2 and not any(name.startswith(".") for name in left)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain.read_bytes())[:-9])
    assert "damaged gzip" in refused(tmp_path / "b.tar.gz")


def test_folders_in_a_tar_are_classes_and_a_label_file_is_read(tmp_path: Path) -> None:
    files = [(f"{'cat' if k % 2 else 'dog'}/{k}.png", png(k)) for k in range(20)]
    data = load(DataOptions(data=str(packed(tmp_path / "a.tar", files))))
    assert data.spec.classes == ("cat", "dog")
    rows = "file_name,old\n" + "".join(f"{k}.png,{k % 2}\n" for k in range(20))
    data = load(
        DataOptions(data=str(packed(tmp_path / "b.tar", [("labels.csv", rows.encode()), *files])))
    )
    assert [one.name for one in data.spec.attributes] == ["old"]


def test_shards_that_use_the_same_names_are_told_apart(tmp_path: Path) -> None:
    for shard in range(2):
        files = [(f"{k:03d}.png", png(20 * shard + k)) for k in range(20)]
        packed(tmp_path / "set" / f"s{shard}.tar", files)
    data = load(DataOptions(data=str(tmp_path / "set"), holdout=0))
    assert sorted(data.train.x[:, 0, 0, 0]) == list(range(40)) and data.spec.classes == ()


def test_a_shard_that_changes_is_noticed(tmp_path: Path) -> None:
    packed(tmp_path / "set" / "a.tar", [(f"{k}.png", png(k)) for k in range(10)])
    first = load(DataOptions(data=str(tmp_path / "set")))
    packed(tmp_path / "set" / "b.tar", [("x.png", png(99))])
    assert load(DataOptions(data=str(tmp_path / "set"))).fingerprint != first.fingerprint


def test_many_shards_on_many_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More shards than are kept open at a time."""
    for shard in range(70):
        files = [(f"{shard}-{k}.png", png((shard * 3 + k) % 256)) for k in range(3)]
        packed(tmp_path / "set" / f"{shard}.tar", files)
    alone = load(DataOptions(data=str(tmp_path / "set"), cache=str(tmp_path / "one")))
    monkeypatch.setattr(pool, "SMALL", 0)
    many = load(DataOptions(data=str(tmp_path / "set"), cache=str(tmp_path / "two")))
    assert many.fingerprint == alone.fingerprint and len(many.train) + len(many.test) == 210


def test_links_sparse_files_and_devices_are_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    kinds = {"l.png": tarfile.SYMTYPE, "h.png": tarfile.LNKTYPE, "p.png": tarfile.FIFOTYPE}
    kinds |= {"d.png": tarfile.CHRTYPE, "s.png": tarfile.GNUTYPE_SPARSE}
    with tarfile.open(path, "w") as archive:
        for k in range(5):
            member = tarfile.TarInfo(f"{k}.png")
            member.size = len(png(k))
            archive.addfile(member, io.BytesIO(png(k)))
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    data = load(DataOptions(data=str(path), on_bad_file="skip", holdout=0))
    assert len(data.train) == 5
    assert {bad.name: bad.reason for bad in data.report.broken} == {
        "l.png": "is a symbolic link",
        "h.png": "is a link",
        "p.png": "is a pipe",
        "d.png": "is a device",
        "s.png": "is a sparse file",
    }


@pytest.mark.parametrize("name", ["../up.png", "/etc/x.png", "a/../../b.png", "c:/x.png"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    assert "leads outside" in refused(packed(tmp_path / "a.tar", [(name, png(1))]))


def test_damaged_tars_are_one_sentence(tmp_path: Path) -> None:
    good = packed(tmp_path / "good.tar", [(f"{k}.png", png(k)) for k in range(5)]).read_bytes()
    path = tmp_path / "a.tar"
    path.write_bytes(good[:1200])
    assert "cut short" in refused(path)
    path.write_bytes(b"x" * 5000)
    assert "is no tar file" in refused(path)
    path.write_bytes(good[:1024] + b"y" * 512 + good[1536:])
    assert "wrong checksum" in refused(path)
    path.write_bytes(b"")
    assert "there is no image" in refused(path)


def test_an_extended_header_that_lies_is_refused(tmp_path: Path) -> None:
    """The standard library would read two gigabytes of it at once."""
    member = tarfile.TarInfo("x")
    member.type, member.size = b"x", 2**31  # type: ignore[assignment]
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(member.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(2**31 + 4096)
    assert "extended header" in refused(path)


def test_the_reader_agrees_with_the_standard_library(tmp_path: Path) -> None:
    """Names, places and contents, over all formats and awkward lengths of names."""
    names = [f"{'d' * (k % 90 + 1)}/{'n' * n}-{k}.png" for k, n in enumerate(range(1, 150, 7))]
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        files = [(name, bytes([k % 256]) * k * 37) for k, name in enumerate(names)]
        if format == tarfile.USTAR_FORMAT:
            files = [(name, data) for name, data in files if len(name) < 100]
        path = packed(tmp_path / "a.tar", files, format)
        found = list(tardir.entries(path))
        with tarfile.open(path) as archive:
            expected = [(one.name, one.offset_data, one.size) for one in archive]
        assert [(one.name, one.offset, one.size) for one in found] == expected


def test_mutated_tars_load_or_are_one_sentence(tmp_path: Path) -> None:
    files = [file for k in range(6) for file in example(k, "größe-{:06d}" + "x" * 90)]
    good = packed(tmp_path / "good.tar", files).read_bytes()
    rng = random.Random(5)
    path = tmp_path / "a.tar"
    for _ in range(200):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 512))] = rng.randbytes(rng.choice((0, 1, 12)))
        if rng.random() < 0.5:  # with sums that are right, so that it gets further
            for start in range(0, len(data) - 512, 512):
                block = bytes(data[start : start + 512])
                if block[257:262] == b"ustar":
                    total = sum(block[:148]) + 256 + sum(block[156:])
                    data[start + 148 : start + 156] = b"%06o\0 " % total
        path.write_bytes(data)
        try:
            load(DataOptions(data=str(path), on_bad_file="skip"))
        except UserError as error:
            assert "\n" not in str(error)


def test_awkward_images_meet_the_same_care_as_in_a_folder(tmp_path: Path) -> None:
    files = awkward()
    tar = packed(tmp_path / "a.tar", files.items())
    asked = {"size": "6", "on_bad_file": "skip", "holdout": 0.0}
    ours = load(DataOptions(data=str(tar), **asked))
    theirs = load(DataOptions(data=make_folder(tmp_path / "folder", files), **asked))
    assert np.array_equal(ours.train.x, theirs.train.x)
    assert ours.report == theirs.report and ours.report.broken_count == 2
    assert {"CMYK", "RGBA"} <= ours.report.modes.keys() and "several frames" in ours.report.notes[0]
