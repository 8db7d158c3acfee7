"""A first start that was killed goes on where it was, and ends in the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from image_files import coloured, encoded, make_folder, noise

from gentool.data import DataOptions, Dataset, load, unfinished
from gentool.data.decoding import pool


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(pool, "_BATCH", 8)
    monkeypatch.setattr(unfinished, "_EVERY_SECONDS", 0.0)
    add = unfinished.Journal.add

    def add_and_wait(self: unfinished.Journal, batch: int, answer: dict[str, Any]) -> None:
        add(self, batch, answer)
        self._writing.result()

    monkeypatch.setattr(unfinished.Journal, "add", add_and_wait)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch after batch in this process, which is quicker to start."""
    monkeypatch.setattr(pool, "_cores", lambda: 0)
    here = staticmethod(lambda job, batches: pool._here(job, batches))
    monkeypatch.setattr(pool.DecodePool, "_spread", here)


def options(place: str | Path, cache: Path) -> DataOptions:
    return DataOptions(data=str(place), cache=str(cache), on_bad_file="skip", labels="none")


def start(given: DataOptions, until: int | None = None) -> tuple[Dataset | None, list[int]]:
    """Load; a signal comes when `until` images are done. Also the numbers that progress said."""
    seen: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "decoding images":
            seen.append(done)
            if until is not None and done >= until:
                raise KeyboardInterrupt

    try:
        return load(given, progress=progress), seen
    except KeyboardInterrupt:
        return None, seen


def hashed(cache: Path) -> dict[str, str]:
    """The files of the only entry of a cache; there is nothing else."""
    (entry,) = (one for one in (cache / "decoded").iterdir() if one.name != "CACHEDIR.TAG")
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in entry.iterdir()}


def partial(cache: Path) -> Path:
    (found,) = (cache / "decoded").glob(".*-partial_")
    return found


def test_interrupted_twice_the_cache_has_the_same_bytes(tmp_path: Path) -> None:
    files, _ = coloured(200)
    files["a/broken.png"] = files["a/0.png"][:40]
    place = make_folder(tmp_path / "set", files)
    whole, _ = start(options(place, tmp_path / "one"))
    given = options(place, tmp_path / "two")
    for until in (80, 150):
        none, seen = start(given, until)
        assert none is None
    assert seen[0] >= 80, "what the first start did counts in the second"
    data, seen = start(given)
    assert data is not None and whole is not None
    assert seen[0] >= 150 and seen[-1] == 201
    assert data.report == whole.report and data.report.broken_count == 1
    assert hashed(tmp_path / "one") == hashed(tmp_path / "two")


@pytest.mark.usefixtures("in_process")
def test_a_late_colour_is_remembered(tmp_path: Path) -> None:
    """All are guessed to be grey; the killed start knew better."""
    files = {f"{k:03d}.png": encoded(noise(6, 6, "L")) for k in range(150)}
    whole = load(options(make_folder(tmp_path / "grey", files), tmp_path / "zero"))
    assert whole.spec.shape[0] == 1
    files["coloured.png"] = encoded(noise(6, 6))
    place = make_folder(tmp_path / "set", files)
    start(options(place, tmp_path / "one"))
    given = options(place, tmp_path / "two")
    for until in range(140, 0, -8):  # the colour is found before this or after
        start(given, until)
        plan = json.loads((partial(tmp_path / "two") / "journal.jsonl").read_text().splitlines()[0])
        if plan["target"]["channels"] == 3:
            break
    data, seen = start(given)
    assert data is not None and data.spec.shape[0] == 3 and seen[0] >= 8
    assert hashed(tmp_path / "one") == hashed(tmp_path / "two")


@pytest.mark.usefixtures("in_process")
def test_other_options_or_files_begin_anew(tmp_path: Path) -> None:
    files, _ = coloured(60)
    place = make_folder(tmp_path / "set", files)
    given = options(place, tmp_path / "cache")
    start(given, 30)
    assert start(DataOptions(**{**vars(given), "size": "4"}))[1][0] <= 16
    (Path(place) / "a" / "0.png").write_bytes(files["b/1.png"])
    assert start(given)[1][0] <= 16


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("damage", ["", "{}\n", "x", "[]\n[1,2]\n", "torn", "short", "order"])
def test_a_damaged_journal_is_not_believed(tmp_path: Path, damage: str) -> None:
    files, _ = coloured(60)
    place = make_folder(tmp_path / "set", files)
    start(options(place, tmp_path / "one"))
    given = options(place, tmp_path / "two")
    start(given, 40)
    journal = partial(tmp_path / "two") / "journal.jsonl"
    if damage == "torn":
        journal.write_text(journal.read_text()[:-9])
    elif damage == "short":
        array = journal.with_name("train.npy")
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "order":
        journal.write_text(journal.read_text().replace('"items": "', '"items": "0'))
    else:
        journal.write_text(damage)
    start(given)
    assert hashed(tmp_path / "one") == hashed(tmp_path / "two")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("trap", ["folder", "file", "hard", "open"])
def test_a_folder_that_leads_elsewhere_is_not_written_to(tmp_path: Path, trap: str) -> None:
    files, _ = coloured(60)
    place = make_folder(tmp_path / "set", files)
    given = options(place, tmp_path / "cache")
    start(given, 40)
    (tmp_path / "precious").mkdir()
    precious = tmp_path / "precious" / "train.npy"
    folder = partial(tmp_path / "cache")
    precious.write_bytes((folder / "train.npy").read_bytes())
    before = precious.read_bytes()
    if trap == "folder":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(precious.parent)
    elif trap == "open":
        folder.chmod(0o770)
    else:
        (folder / "train.npy").unlink()
        if trap == "file":
            (folder / "train.npy").symlink_to(precious)
        else:
            os.link(precious, folder / "train.npy")
    data, seen = start(given)
    assert data is not None and seen[0] <= 16
    assert precious.read_bytes() == before


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    """While one decodes, another does the same on its own."""
    files, _ = coloured(40)
    given = options(make_folder(tmp_path / "set", files), tmp_path / "cache")
    inner: list[Dataset] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "decoding images" and not inner:
            inner.append(load(given))

    outer = load(given, progress=progress)
    assert inner[0].fingerprint == outer.fingerprint
    assert len(list((tmp_path / "cache" / "decoded").glob("?" * 32))) == 1
    assert not list((tmp_path / "cache" / "decoded").glob(".*-*"))


def test_killed_without_warning(tmp_path: Path) -> None:
    """SIGKILL twice, in a program of its own; the third start takes over what is there."""
    files, _ = coloured(120)
    place = make_folder(tmp_path / "set", files)
    start(options(place, tmp_path / "one"))
    program = (
        "import os, signal, sys\n"
        "from gentool.data import DataOptions, load, unfinished\n"
        "from gentool.data.decoding import pool\n"
        "pool.SMALL, pool._BATCH, unfinished._EVERY_SECONDS = 0, 8, 0.0\n"
        "add = unfinished.Journal.add\n"
        "def add_and_wait(self, *given):\n"
        "    add(self, *given)\n"
        "    self._writing.result()\n"
        "unfinished.Journal.add = add_and_wait\n"
        "def progress(what, done, total):\n"
        "    if what == 'decoding images' and done >= int(sys.argv[3]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "load(DataOptions(data=sys.argv[1], cache=sys.argv[2], on_bad_file='skip', labels='none'),"
        " progress=progress)\n"
    )
    for until in (48, 80):
        arguments = [sys.executable, "-c", program, place, str(tmp_path / "two"), str(until)]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    data, seen = start(options(place, tmp_path / "two"))
    assert data is not None and seen[0] >= 80
    assert hashed(tmp_path / "one") == hashed(tmp_path / "two")
