"""A folder held open: nothing in it leads anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gentool.files import umask
from gentool.folder import Folder
from gentool.litter import ASIDE


def test_what_is_written_is_read_and_leaves_nothing_aside(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        folder.write("a.json", b"old")
        folder.write_json("a.json", {"x": 1})
        with folder.folder("samples", make=True) as inner:
            inner.write("1.png", b"picture")
        assert folder.read("a.json", 100) == b'{\n  "x": 1\n}\n'
        assert folder.names() == ["a.json", "samples"]
    assert (tmp_path / "samples" / "1.png").read_bytes() == b"picture"
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~umask()


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        folder.write("a", b"old")
        with pytest.raises(RuntimeError), folder.written("a") as file:
            file.write(b"half")
            (aside,) = set(folder.names()) - {"a"}
            assert ASIDE.fullmatch(aside), "the sweep of killed processes would not know it"
            raise RuntimeError
        assert folder.names() == ["a"] and folder.read("a", 9) == b"old"


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    run.mkdir()
    (outside / "file").write_text("mine")
    (run / "file").symlink_to(outside / "file")
    (run / "samples").symlink_to(outside)
    (run / "new").symlink_to(outside / "new")
    with Folder(run) as folder:
        for touch in (
            lambda: folder.read("file", 100),
            lambda: folder.open_own("file"),
            lambda: folder.open_own("new"),
            lambda: folder.folder("samples", make=True),
        ):
            with pytest.raises(OSError, match="symbolic link"):
                touch()
        folder.write("file", b"theirs")  # takes the link's place
        folder.remove("samples")
    assert (outside / "file").read_text() == "mine" and [*outside.iterdir()] == [outside / "file"]
    assert (run / "file").read_text() == "theirs" and not (run / "file").is_symlink()


def test_only_plain_files_of_bounded_size_and_one_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    os.link(tmp_path / "large", tmp_path / "again")
    with Folder(tmp_path) as folder:
        for name, words in (("pipe", "no regular file"), ("large", "the most that are read")):
            with pytest.raises(OSError, match=words):
                folder.read(name, 4)
        with pytest.raises(OSError, match="hard link"):
            folder.open_own("again")
        with pytest.raises(OSError, match="no regular file"):
            folder.open_own("pipe")
        for name in ("..", "", "a/b", "a\0b", "/etc/passwd"):
            with pytest.raises(OSError, match="no name of a file"):
                folder.read(name, 4)


def test_it_is_the_same_folder_whatever_its_name_and_known_to_be_gone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    with Folder(old) as folder:
        old.rename(new)
        folder.write("a", b"1")
        assert (new / "a").exists() and not old.exists()
        assert folder.is_at(new) and not folder.is_at(old) and not folder.is_gone()
        folder.remove("a")
        new.rmdir()
        assert folder.is_gone()
        with pytest.raises(FileNotFoundError):
            folder.write("a", b"1")
    assert not new.exists()
