"""The cache: instant second starts, and no trust in what lies there."""

import errno
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool import litter
from gentool.data import DataOptions, cache, load
from gentool.data.decoding import pool
from gentool.data.sources import decoded
from gentool.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(3)
    place = tmp_path / "set"
    for k in range(30):
        (place / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image.save(place / "ab"[k % 2] / f"{k}.png")
    return place


def sealed(facts: dict) -> str:
    """What `Draft.commit` writes for these facts, the checksum made anew."""
    facts.pop("check")
    facts = json.loads(json.dumps(facts))
    return json.dumps({**facts, "check": cache.digest(facts)})


def entries(home: Path) -> list[Path]:
    found = sorted(home.iterdir()) if home.is_dir() else []
    return [path for path in found if path.name != litter.MARK]


@pytest.fixture
def decodes(monkeypatch) -> list[int]:
    """Grows by one with every decode of a folder."""
    made, whole = [], decoded._Decoder.run
    monkeypatch.setattr(decoded._Decoder, "run", lambda self: made.append(1) or whole(self))
    return made


def test_the_second_start_decodes_nothing(folder, home, decodes):
    first, second = load(DataOptions(data=str(folder))), load(DataOptions(data=str(folder)))
    assert len(decodes) == 1 and len(entries(home)) == 1
    assert isinstance(second.train.x, np.memmap) and not second.train.x.flags.writeable
    assert np.array_equal(first.train.x, second.train.x)
    assert np.array_equal(first.train.labels, second.train.labels)
    assert first.report == second.report and first.spec == second.spec
    # What is chosen after decoding needs no decode of its own, and no copy.
    part = load(DataOptions(data=str(folder), holdout=0.5, limit=3, on_bad_file="skip"))
    assert len(decodes) == 1 and len(part.train) == 3 and len(part.test) == 15
    assert isinstance(part.train.x.base, np.memmap)


def test_what_changes_the_pixels_makes_a_new_entry(folder, decodes):
    file = folder / "a" / "0.png"
    base = DataOptions(data=str(folder))
    changes = [
        lambda: file.write_bytes((folder / "b" / "1.png").read_bytes()),
        lambda: os.utime(file, ns=(1, 1)),
        lambda: file.rename(folder / "a" / "00.png"),
        lambda: shutil.copy(folder / "a" / "2.png", folder / "b" / "2.png"),
    ]
    for n, change in enumerate(changes, start=1):
        load(base)
        assert len(decodes) == n
        change()
    for options in ({"size": "4"}, {"size": "4", "fit": "pad"}, {"channels": "grey"}):
        load(DataOptions(data=str(folder), **options))
    assert len(decodes) == len(changes) + 3


@pytest.mark.parametrize("damage", ["cut", "grown", "zeros", "meta", "key", "foreign", "dtype"])
def test_a_damaged_entry_is_rebuilt(folder, home, decodes, damage):
    whole = load(DataOptions(data=str(folder)))
    pixels = np.array(whole.train.x)
    (entry,) = entries(home)
    train, meta = entry / "train.npy", entry / "meta.json"
    del whole
    if damage == "cut":
        os.truncate(train, train.stat().st_size - 1)
    elif damage == "grown":
        train.write_bytes(train.read_bytes() + b"x")
    elif damage == "zeros":
        train.write_bytes(train.read_bytes()[:300] + bytes(train.stat().st_size - 300))
    elif damage == "meta":
        meta.write_text(meta.read_text()[:-20])
    elif damage == "key":
        meta.write_text(meta.read_text().replace(entry.name, "0" * 32))
    elif damage == "foreign":
        shutil.rmtree(entry)
        entry.write_text("a file where a folder should be")
    else:
        np.save(train, np.zeros((30, 3, 8, 8)))
        facts = json.loads(meta.read_text())
        facts["files"]["train.npy"] = cache._check(train)
        meta.write_text(sealed(facts))
    again = load(DataOptions(data=str(folder)))
    assert len(decodes) == 2 and np.array_equal(again.train.x, pixels)
    load(DataOptions(data=str(folder)))
    assert len(decodes) == (3 if damage == "foreign" and entry.is_file() else 2)


def test_any_nonsense_in_meta_json_is_no_entry(folder, home):
    load(DataOptions(data=str(folder)))
    (entry,) = entries(home)
    good = json.loads((entry / "meta.json").read_text())
    bad = [b"", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b"9" * 10_000]
    for field in good:
        bad += [json.dumps({**good, field: value}).encode() for value in (None, 7, [], {}, "x")]
    for text in bad:
        (entry / "meta.json").write_bytes(text)
        assert len(load(DataOptions(data=str(folder))).train) == 27


def test_an_array_file_with_objects_is_never_unpickled(folder, home):
    load(DataOptions(data=str(folder)))
    (entry,) = entries(home)
    np.save(entry / "train.npy", np.array([{"a": 1}] * 30), allow_pickle=True)
    facts = json.loads((entry / "meta.json").read_text())
    facts["files"]["train.npy"] = cache._check(entry / "train.npy")
    (entry / "meta.json").write_text(sealed(facts))
    assert load(DataOptions(data=str(folder))).train.x.dtype == np.uint8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_by_permission(folder, tmp_path):
    place = tmp_path / "locked"
    place.mkdir(mode=0o500)
    assert len(load(DataOptions(data=str(folder), cache=str(place))).train) == 27


def test_a_cache_that_cannot_be_written_is_done_without(folder, tmp_path, monkeypatch):
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "aside"))
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        data = load(DataOptions(data=str(folder), cache=str(tmp_path / "file" / "below")))
        assert len(data.train) == 27 and "decoded anew" in data.report.notes[0]
        glyphs = load(DataOptions(data="glyphs:20", cache=str(tmp_path / "file")))
        assert len(glyphs.train) == 20
    assert not list((tmp_path / "aside").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(UserError, match="neither the cache folder"):
        load(DataOptions(data=str(folder), cache=str(tmp_path / "file")))


def test_a_cache_that_vanishes_is_one_sentence(folder, home, monkeypatch):
    whole = pool.DecodePool.decode

    def vanish(*arguments):
        shutil.rmtree(home)
        return whole(*arguments)

    monkeypatch.setattr(pool.DecodePool, "decode", vanish)
    with pytest.raises(UserError, match="cannot be kept"):
        load(DataOptions(data=str(folder)))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_claim", full)
    with pytest.raises(UserError, match="no room left"):
        load(DataOptions(data=str(folder)))
    assert entries(home) == []


def test_an_interrupted_decode_leaves_nothing(folder, home, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.DecodePool, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(DataOptions(data=str(folder)))
    assert entries(home) == []


def test_old_entries_make_room(folder, home, monkeypatch):
    load(DataOptions(data=str(folder)))
    (old,) = entries(home)
    os.utime(old / "meta.json", (1, 1))
    stale = home / f".{old.name}-k1lled_0"
    stale.mkdir()
    os.utime(stale, (1, 1))
    monkeypatch.setenv("GENTOOL_CACHE_GB", "0")
    kept = load(DataOptions(data="glyphs:50"))
    assert not old.exists() and not stale.exists() and len(entries(home)) == 1
    assert kept.train.x.max() == 255


def test_the_cache_folder_follows_the_conventions(monkeypatch, tmp_path):
    assert DataOptions(cache="~/c").cache_folder() == Path.home() / "c"
    assert DataOptions().cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GENTOOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert DataOptions().cache_folder() == tmp_path / "xdg" / "gentool"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert DataOptions().cache_folder() == Path.home() / ".cache" / "gentool"


def test_the_files_are_plain_npy(folder, home):
    data = load(DataOptions(data=str(folder), holdout=0))
    (entry,) = entries(home)
    whole = np.load(io.BytesIO((entry / "train.npy").read_bytes()), allow_pickle=False)
    assert np.array_equal(whole, data.train.x) and len(data.test) == 0
