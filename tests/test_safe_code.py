"""Only code of the user's own is run: not the current folder's, not what others put in a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from gentool.ops import build, cache, native, private, sources
from gentool.subprocesses import environment, python

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A current folder with modules of common names that tell of having been run."""
    for name in ("torch", "numpy", "json", "typer", "gentool_vae", "rich"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')"
        )
    return tmp_path


def run_in(trap: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GENTOOL_CACHE": str(trap / "cache"), **changes}
    for name in ("PYTHONSAFEPATH", "GENTOOL_KERNELS"):
        env.pop(name, None)
    return subprocess.run(command, cwd=trap, env=env, capture_output=True, text=True, timeout=300)


# As the console script does it: its own folder comes first, the current one is not on the path.
SCRIPT = "import sys; sys.argv[0] = 'gentool'; from gentool.cli.main import main; main()"


def console(trap: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    script = trap / "bin" / "gentool"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    return run_in(trap, sys.executable, str(script), *arguments, **changes)


@pytest.mark.slow
def test_the_doctor_runs_nothing_of_the_current_folder(trap: Path) -> None:
    done = console(trap, "plugins", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (trap / "ran").exists()


def test_an_empty_entry_of_pythonpath_is_not_the_current_folder(trap: Path) -> None:
    (trap / "json.py").unlink()  # Python itself is up before any code of gentool runs
    paths = os.pathsep.join(["", str(ROOT), str(ROOT / "plugins")])
    done = console(trap, "models", PYTHONPATH=paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (trap / "ran").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "c++")) is None, reason="needs a compiler")
def test_a_build_runs_nothing_of_the_current_folder(trap: Path) -> None:
    """The compiler is a stand-in that fails: the child has imported torch by then."""
    fake = trap / "no-compiler"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = console(trap, "kernels", "build", CXX=str(fake))
    assert done.returncode == 2 and "compiling failed" in done.stderr, done.stderr
    assert not (trap / "ran").exists()


def test_children_import_what_is_imported_here_and_nothing_of_the_current_folder(
    trap: Path,
) -> None:
    code = "import typer, numpy, torch, gentool_vae, os; print(os.environ['PYTHONSAFEPATH'])"
    done = subprocess.run(
        python("-c", code), env=environment(), cwd=trap, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1", done.stderr
    assert not (trap / "ran").exists()


def test_no_subprocess_is_started_another_way() -> None:
    """sys.executable is started in one place of the product; others show its name."""
    found = [
        str(path.relative_to(ROOT))
        for folder in ("gentool", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "sys.executable" in path.read_text().replace("Path(sys.executable)", "")
    ]
    assert found == ["gentool/subprocesses.py"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache entry whose library is no library, but is what its record says."""
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENTOOL_KERNELS", raising=False)
    monkeypatch.setattr(native.importlib.machinery, "EXTENSION_SUFFIXES", [])
    place = tmp_path / "cache" / "kernels" / cache.key()
    private.make_private(place.parent)
    private.make_private(place)
    content = b"no library"
    (place / cache.LIBRARY).write_bytes(content)
    (place / cache.LIBRARY).chmod(0o600)
    cache.Record(
        torch=torch.__version__,
        abi=cache.abi(),
        sources=sources.digest(sources.root()),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    ).write(place / cache.RECORD)
    return place


def refused(match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is passed over for that reason, and never handed to the loader."""
    loaded: list[Path] = []
    monkeypatch.setattr(native, "_import", lambda path: loaded.append(path))
    with pytest.warns(UserWarning, match=match):
        status = native._load()
    assert status.path is None and not loaded


def test_what_is_checked_is_what_is_loaded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is swapped after the check: the loader gets the one that was checked."""
    seen: list[bytes] = []
    by_descriptor = native._by_descriptor

    def swapped(descriptor: int, library: Path) -> Path:
        library.unlink()
        library.write_bytes(b"planted")
        return by_descriptor(descriptor, library)

    def look(path: Path) -> None:
        seen.append(path.read_bytes())
        raise ImportError("seen enough")

    monkeypatch.setattr(native, "_by_descriptor", swapped)
    monkeypatch.setattr(native, "_import", look)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native._load()
    assert seen == [b"no library" if Path("/proc/self/fd").is_dir() else b"planted"]


@pytest.mark.parametrize("which", ["kernels", "entry", "library", "record"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_others_may_write(
    place: Path, which: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"kernels": place.parent, "entry": place}
    paths |= {"library": place / cache.LIBRARY, "record": place / cache.RECORD}
    paths[which].chmod(mode)
    refused("others may write", monkeypatch)


@pytest.mark.parametrize("which", ["kernels", "entry", "library", "record"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_anothers(place: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"kernels": place.parent, "entry": place}
    paths |= {"library": place / cache.LIBRARY, "record": place / cache.RECORD}
    os.chown(paths[which], 12345, 12345)
    refused("belongs to another user", monkeypatch)


def test_a_link_in_the_place_of_the_library(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / cache.LIBRARY).rename(place.parent / "elsewhere")
    (place / cache.LIBRARY).symlink_to(place.parent / "elsewhere")
    refused("symbolic link|Too many levels", monkeypatch)


def test_a_pipe_in_the_place_of_the_record(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / cache.RECORD).unlink()
    os.mkfifo(place / cache.RECORD, 0o600)
    refused("no regular file", monkeypatch)


def test_a_damaged_library_of_the_right_size(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / cache.LIBRARY).write_bytes(b"no l1brary")
    refused("not what was built", monkeypatch)


def test_a_build_makes_its_folder_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cache" / "kernels"
    home.mkdir(parents=True)
    home.chmod(0o775)
    old, fresh, mine = (
        home / f"{name}" for name in (".building-abcd_123", ".building-abcdefgh", ".mine")
    )
    for folder in (old, fresh, mine):
        folder.mkdir()
    for folder in (old, mine):
        os.utime(folder, (1, 1))
    link = home / ".building-l1nkl1nk"
    link.symlink_to(tmp_path)
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))

    def child(code: str, what: str) -> None:
        raise RuntimeError("as far as this test goes")

    monkeypatch.setattr(build, "_child", child)
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(RuntimeError, match="as far as"):
        build.build()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert not old.exists(), "what a killed build left is swept"
    assert fresh.exists() and mine.exists() and link.is_symlink() and tmp_path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_build_into_anothers_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels").mkdir()
    os.chown(tmp_path / "kernels", 12345, 12345)
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(RuntimeError, match="another user; set GENTOOL_CACHE"):
        build.build()


def test_torch_keeps_no_code_where_others_could_plant_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gentool.train import compiling

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    compiling.keep_code_in(shared / "gentool" / "torch")
    chosen = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert not chosen.is_relative_to(shared)
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    shared.chmod(0o1777)  # as /tmp: only the owner of a name there can move it
    compiling.keep_code_in(shared / "gentool" / "torch")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(shared / "gentool" / "torch")
