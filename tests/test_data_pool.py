"""Images decoded in several processes: the same data, and a crash costs one image."""

import sys

import pytest
from image_files import coloured, make_folder

from gentool.data import DataOptions, load
from gentool.data.decoding import pool


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def test_many_processes_give_what_one_gives(tmp_path, monkeypatch):
    files, arrays = coloured(300)
    files["a/broken.png"] = files["a/0.png"][:40]
    place = make_folder(tmp_path / "set", files)
    alone = load(DataOptions(data=place, on_bad_file="skip", cache=str(tmp_path / "one")))
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(pool, "_BATCH", 32)
    seen = []
    from gentool.data import load as load_with

    many = load_with(
        DataOptions(data=place, on_bad_file="skip", cache=str(tmp_path / "two")),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert many.fingerprint == alone.fingerprint and many.report == alone.report
    assert seen[-1] == ("decoding images", 301, 301) and len(seen) > 5
    assert many.report.broken_count == 1
    assert len(many.train) + len(many.test) == len(arrays)


def test_a_decoder_that_crashes_costs_one_image(tmp_path, monkeypatch):
    """A stand-in interpreter that dies at one image, as a decoder with a memory error does."""
    files, _ = coloured(60)
    files["a/13.png"] = files["a/12.png"] + b"DEADLY"
    place = make_folder(tmp_path / "set", files)
    runner = tmp_path / "python"
    runner.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "sys.path[:0] = os.environ['PYTHONPATH'].split(os.pathsep)\n"
        "from gentool.data.decoding import worker\n"
        "decode = worker.decode\n"
        "dies = lambda data: data.endswith(b'DEADLY') and os._exit(139)\n"
        "worker.decode = lambda data, target: dies(data) or decode(data, target)\n"
        "worker.main()\n"
    )
    runner.chmod(0o755)
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(pool, "_BATCH", 16)
    monkeypatch.setattr(sys, "executable", str(runner))
    data = load(DataOptions(data=place, on_bad_file="skip"))
    assert data.report.broken_count == 1
    assert data.report.broken[0].name == "a/13.png"
    assert "crashes" in data.report.broken[0].reason
    assert len(data.train) + len(data.test) == 60


def test_without_worker_processes_it_decodes_here(tmp_path, monkeypatch):
    files, _ = coloured(20)
    monkeypatch.setattr(pool, "SMALL", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    data = load(DataOptions(data=make_folder(tmp_path / "set", files)))
    assert len(data.train) + len(data.test) == 20 and data.report.broken_count == 0
