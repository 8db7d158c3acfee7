"""Images in flat arrays and tables joined by hashes, against lists and dictionaries."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from gentool.data import cache
from gentool.data.decoding.entries import Entries, Names, hashes
from gentool.data.decoding.layout import lay_out
from gentool.data.decoding.listing import walk
from gentool.data.decoding.worker import RAW, Member
from gentool.data.tables.places import Places

ODD = ["", "a", "größe/ä.png", "\udcff\udc80.png", "a" * 3000, "a"]


def test_names_are_what_was_put_in() -> None:
    names = Names(ODD)
    assert list(names) == ODD and len(names) == len(ODD) and names[2] == ODD[2]
    assert names.repeated().tolist() == [False] * 5 + [True]
    assert Names().repeated().tolist() == []


def test_an_image_takes_few_bytes() -> None:
    """Where a list of tuples took 1.3 kB."""
    entries, n = Entries(), 20_000
    tracemalloc.start()
    for k in range(n):
        entries.add(f"train/{k:08d}.jpg", 900, Member(1024 * k, 900, 900, RAW, 0, k // 100))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 110 * n
    assert entries[12_345] == (
        "train/00012345.jpg",
        (1024 * 12_345, 900, 900, RAW, 0, 123),
        900,
        "",
    )
    assert entries.bytes() == 900 * n


@pytest.mark.parametrize("wild", [2**63 - 1, 2**63, 2**64 - 1, 2**200, -(2**70)])
def test_wild_numbers_of_an_archive_fit(wild: int) -> None:
    entries = Entries()
    entries.add("a.png", 3, Member(wild, 3, max(wild, 0), 0, 0))
    entries.add("b.png", 4, Member(7, 4, 4, 8, 2**32 - 1))
    assert entries[1].where == Member(7, 4, 4, 8, 2**32 - 1)
    found = entries[0].where
    assert isinstance(found, Member) and abs(found.offset) >= 2**62


def test_of_several_with_one_name_the_last_is_kept() -> None:
    chance = random.Random(0)
    entries, wanted = Entries(), {}
    for k in range(500):
        name = f"{chance.randrange(60)}.png"
        problem = "is odd" if k % 7 == 0 else ""
        entries.add(name, k, Member(k, k, k, 0, 0), problem)
        wanted[name] = (Member(k, k, k, 0, 0), problem)
    kept = entries.without_earlier()
    assert {e.name: (e.where, e.problem) for e in map(kept.__getitem__, range(len(kept)))} == wanted
    assert len(kept) == len(wanted)


def test_places_are_those_of_a_dict() -> None:
    """Against the join written with dictionaries."""
    chance = random.Random(1)
    images = sorted(
        {
            f"{chance.choice('abc')}/{chance.randrange(80)}.{chance.choice(('png', 'jpg'))}"
            for _ in range(120)
        }
    )
    lasts = [name.rpartition("/")[2] for name in images]
    stems = [last.partition(".")[0] for last in lasts]

    def wanted(folder: str, name: str) -> int:
        path = name.replace("\\", "/").removeprefix("./")
        for whole in ((f"{folder}/{path}" if folder else path), path):
            if whole in images:
                return images.index(whole)
        last = path.rpartition("/")[2]
        for known, part in ((lasts, last), (stems, last.partition(".")[0])):
            if known.count(part) == 1:
                return known.index(part)
        return -1

    asked = [*images, *lasts, *stems, *(f"./{name}" for name in images), *ODD, "\ud800", "a\\3.png"]
    for folder in ("", "a", "z"):
        found = Places(images).of(folder, asked)
        assert found.tolist() == [wanted(folder, name) for name in asked]
    assert {-1, 0} < set(found.tolist())


def test_the_layout_of_names_is_that_of_a_list() -> None:
    names = [f"{split}/{k % 3}/{k}.png" for k in range(200) for split in ("train", "test")]
    of_list, of_names = lay_out(names), lay_out(Names(names))
    assert of_list.classes == of_names.classes
    assert all(np.array_equal(of_list.rows[s], of_names.rows[s]) for s in of_list.rows)
    assert hashes(names).tolist() == hashes(Names(names)).tolist()


def test_the_digest_of_a_walk_is_that_of_its_list(tmp_path) -> None:
    """The key of a folder's entry: caches made before there were flat arrays are still found."""
    for name in ("a.png", "b/ä.jpg", "b/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    stamps = []
    for name in ("a.png", "b/c.png", "b/ä.jpg"):
        status = (tmp_path / name).stat()
        stamps.append((name, status.st_size, status.st_mtime_ns, ""))
    assert walk(str(tmp_path)).digest == cache.digest(stamps)
    (tmp_path / "empty").mkdir()
    assert walk(str(tmp_path / "empty")).digest == cache.digest([])
