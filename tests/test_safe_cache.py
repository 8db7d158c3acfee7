"""A run chooses no cache, and what gentool removes is what gentool made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result

from gentool import litter
from gentool.data import DataOptions, cache, load
from gentool.files import open_regular, read_regular

Cli = Callable[..., Result]
SMALL = ("--data", "glyphs:64", "--hidden", "8", "--latent-dim", "2", "--threads", "1")


def old(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "precious").write_text("precious")
    os.utime(path, (1, 1))
    return path


@pytest.mark.parametrize("verb", ["resume", "evaluate"])
def test_a_run_never_chooses_the_cache(cli: Cli, tmp_path: Path, verb: str) -> None:
    """The run names a cache whose `decoded` leads to the user's own folders."""
    assert cli("train", "vae", *SMALL, "--steps", 2, "--out", "home/papers/stranger").code == 0
    run, home = tmp_path / "home" / "papers" / "stranger", tmp_path / "home"
    secrets = [old(home / ".ssh"), old(home / ".gnupg")]
    (run / "x").mkdir()
    (run / "x" / "decoded").symlink_to("../../..")
    config = json.loads((run / "config.json").read_text())
    config["data_options"]["cache"] = str(run / "x")
    config["data_options"]["data"] = "glyphs:65"  # not in the cache yet: an entry is written
    (run / "config.json").write_text(json.dumps(config))
    before = sorted(home.iterdir())
    more = ("--steps", "3") if verb == "resume" else ("--metrics", "elbo", "--features", "pixels")
    result = cli(verb, run, *more)
    assert "Traceback" not in result.err
    assert "was trained with --cache" in result.err
    assert all((path / "precious").exists() for path in secrets)
    assert sorted(home.iterdir()) == before
    assert len(list((tmp_path / "cache" / "decoded").glob("?" * 32))) == 2, "the user's own cache"


@pytest.mark.slow
def test_the_user_chooses_the_cache_of_a_resumed_run(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "vae", *SMALL, "--steps", 2, "--out", "r", "--cache", "mine").code == 0
    assert cli("resume", "r", "--steps", 3, "--cache", "mine").code == 0
    assert not (tmp_path / "cache" / "decoded").exists()


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOL_CACHE_GB", "0")


@pytest.mark.usefixtures("no_room")
def test_only_a_marked_folder_is_swept(tmp_path: Path) -> None:
    """--cache names a folder in which a `decoded` of the user's own lies."""
    draft = old(tmp_path / "decoded" / f".{'a' * 32}-abcd1234")
    entry = old(tmp_path / "decoded" / ("b" * 32))
    (entry / "meta.json").write_text("{}")
    load(DataOptions(data="glyphs:20", cache=str(tmp_path)))
    assert draft.exists() and entry.exists()


@pytest.mark.usefixtures("no_room")
def test_what_is_swept(tmp_path: Path) -> None:
    home = tmp_path / "cache" / "decoded"
    options = DataOptions(data="glyphs:20", cache=str(tmp_path / "cache"))
    load(options)
    assert (
        (home / litter.MARK).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    (first,) = home.glob("?" * 32)
    os.utime(first / "meta.json", (1, 1))
    outside = old(tmp_path / "outside")
    draft = f".{'a' * 32}-abcd1234"
    kept = [
        old(home / ".ssh"),
        old(home / f".{'A' * 32}-abcd1234"),
        old(home / "thesis"),
        outside / "precious",
    ]
    gone = [old(home / draft), first]
    links = [home / f".{'c' * 32}-abcd1234", home / ("d" * 32)]
    for link in links:
        link.symlink_to(outside)
        os.utime(link, (1, 1), follow_symlinks=False)
    (gone[0] / "link").symlink_to(outside)
    os.utime(gone[0], (1, 1))
    young = home / f".{'e' * 32}-abcd1234"
    young.mkdir()
    load(DataOptions(data="glyphs:21", cache=str(tmp_path / "cache")))
    assert all(path.exists() for path in [*kept, young])
    assert all(link.is_symlink() for link in links)
    assert not any(path.exists() for path in gone)


@pytest.mark.usefixtures("no_room")
def test_a_link_in_the_place_of_the_cache_is_not_swept(tmp_path: Path) -> None:
    load(DataOptions(data="glyphs:20", cache=str(tmp_path / "mine")))
    (entry,) = (tmp_path / "mine" / "decoded").glob("?" * 32)
    os.utime(entry / "meta.json", (1, 1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "decoded").symlink_to(tmp_path / "mine" / "decoded")
    load(DataOptions(data="glyphs:21", cache=str(tmp_path / "other")))
    assert entry.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.usefixtures("no_room")
def test_what_another_user_made_stays(tmp_path: Path) -> None:
    load(DataOptions(data="glyphs:20", cache=str(tmp_path)))
    draft = old(tmp_path / "decoded" / f".{'a' * 32}-abcd1234")
    os.chown(draft, 12345, 12345)
    load(DataOptions(data="glyphs:21", cache=str(tmp_path)))
    assert draft.exists()


def test_a_run_is_swept_of_its_own_litter_only(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / "state").mkdir(parents=True)
    (run / "sub").mkdir()
    outside.mkdir()
    gone = [run / ".model.abcd_123.tmp.safetensors", run / "state" / ".step-000000001.tmp"]
    kept = [
        run / ".notes.tmp",
        run / ".bashrc.tmp",
        run / "sub" / ".model.abcd_123.tmp.safetensors",
        outside / ".model.abcd_123.tmp.safetensors",
    ]
    for path in [*gone, *kept]:
        path.write_text("x")
    (run / "samples").symlink_to(outside)
    litter.sweep_run(run)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)


def test_an_entry_that_is_no_plain_file_is_rebuilt(tmp_path: Path) -> None:
    """A pipe would be waited for, a device or a sparse file read for ever."""
    options = DataOptions(data="glyphs:20", cache=str(tmp_path))
    pixels = np.array(load(options).train.x)
    (entry,) = (tmp_path / "decoded").glob("?" * 32)
    meta, train = entry / "meta.json", entry / "train.npy"

    def pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def sparse(path: Path) -> None:
        os.truncate(path, 2**40)

    def link(path: Path) -> None:
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)

    for change in (pipe, sparse, link):
        for path in (meta, train):
            change(path)
            assert np.array_equal(load(options).train.x, pixels)
            assert path.is_file() and not path.is_symlink(), (change, path)


def test_a_faster_process_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process puts the same entry in place, and takes ours away, at the worst moment."""
    options = DataOptions(data="glyphs:20", cache=str(tmp_path))
    rename = Path.rename

    def stolen(self: Path, target: Path) -> Path:
        result = rename(self, target)
        if len(target.name) == 32:
            cache.shutil.rmtree(target)
        return result

    monkeypatch.setattr(Path, "rename", stolen)
    assert len(load(options).train) == 20


def test_a_sound_entry_of_another_process_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DataOptions(data="glyphs:20", cache=str(tmp_path))
    load(options)
    (entry,) = (tmp_path / "decoded").glob("?" * 32)
    inode = entry.stat().st_ino
    monkeypatch.setattr(cache, "look_up", lambda *_: None)
    load(options)
    assert entry.stat().st_ino == inode
    assert not list((tmp_path / "decoded").glob(".*-*"))


def test_only_regular_files_of_bounded_size_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    cases = [("file", 4, "4 are the most"), ("pipe", 9, "no regular file"), (".", 9, "no regular")]
    cases += [("link", 9, "symbolic link"), ("a\0b", 9, "null"), ("x" * 300, 9, "long")]
    for name, most, words in cases:
        with pytest.raises(OSError, match=words):
            open_regular(tmp_path / name, most)
    with pytest.raises(OSError, match="no regular file"):
        open_regular(Path("/dev/zero"), 9)
