"""Building and loading the native library: the cache, what is refused, and the commands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool.ops import bench, cache, native, private, sources
from gentool.ops.cpu import cpu_flags

ROOT = Path(__file__).resolve().parents[1]
HAVE_COMPILER = shutil.which(os.environ.get("CXX", "c++")) is not None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache entry of this machine, empty, in a cache of its own."""
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("GENTOOL_KERNELS", raising=False)
    # A library beside the package would be found first.
    monkeypatch.setattr(native.importlib.machinery, "EXTENSION_SUFFIXES", [])
    return tmp_path / "kernels" / cache.key()


def fill(place: Path, library: bytes = b"no library", **changes: Any) -> None:
    private.make_private(place.parent)
    private.make_private(place)
    (place / cache.LIBRARY).write_bytes(library)
    record = cache.Record(
        torch=torch.__version__,
        abi=cache.abi(),
        sources=sources.digest(sources.root()),
        size=len(library),
        sha256=hashlib.sha256(library).hexdigest(),
    )
    dataclasses.replace(record, **changes).write(place / cache.RECORD)


def test_nothing_built_is_no_cause_for_a_warning(place: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status = native._load()
    assert status == native.Status(
        reason="no library has been built", remedy="gentool kernels build"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "file too short|not a mach-o|invalid ELF|ELF"),
        ({"size": 3}, "10 bytes long, expected 3"),
        ({"torch": "1.0"}, "built for torch 1.0"),
        ({"abi": "cpython-20"}, "built for cpython-20"),
        ({"sources": "0"}, "built from other sources"),
        pytest.param(
            {"needs": ("no-such-instruction",)},
            "needs a processor with no-such-instruction",
            marks=pytest.mark.skipif(not cpu_flags(), reason="the CPU's flags are unknown"),
        ),
    ],
)
def test_a_bad_library_is_passed_over_with_one_warning(
    place: Path, changes: dict[str, Any], reason: str
) -> None:
    fill(place, **changes)
    with pytest.warns(UserWarning, match=reason) as caught:
        status = native._load()
    assert len(caught) == 1
    assert status.path is None and status.remedy == "gentool kernels build"


def test_a_record_that_is_none(place: Path) -> None:
    fill(place)
    (place / cache.RECORD).write_text("{")
    with pytest.warns(UserWarning, match="not a record"):
        native._load()


def test_a_library_that_anyone_may_write_to(place: Path) -> None:
    fill(place)
    (place / cache.LIBRARY).chmod(0o777)
    with pytest.warns(UserWarning, match="others may write"):
        native._load()


def test_a_build_for_something_else_is_mentioned(place: Path) -> None:
    fill(place.parent / "0123456789abcdef")
    with pytest.warns(UserWarning, match="another torch, Python, processor or state"):
        native._load()


def test_gentool_kernels_off_loads_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place)
    monkeypatch.setenv("GENTOOL_KERNELS", "off")
    assert native._load().reason == "GENTOOL_KERNELS=off"


def test_the_key_depends_on_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = cache.key()
    copy = tmp_path / "csrc"
    shutil.copytree(sources.root(), copy)
    monkeypatch.setattr(sources, "root", lambda: copy)
    assert cache.key() == before
    with (copy / "math.h").open("a") as file:
        file.write("\n")
    assert cache.key() != before


@pytest.mark.slow
def test_importing_the_operations_is_cheap_and_compiles_nothing() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import gentool.ops
new = {m.split(".")[0] + "." + m.split(".")[1] for m in set(sys.modules) - before if "." in m}
assert "torch.utils.cpp_extension" not in sys.modules
assert "torch._dynamo" not in sys.modules and "torch._inductor" not in sys.modules
assert not [m for m in sys.modules if m.startswith("gentool.") and not m.startswith(
    ("gentool.ops", "gentool._C", "gentool.version", "gentool.cachefolder",
     "gentool.errors", "gentool.files"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_kernels_status_says_why_nothing_is_loaded(cli: Callable[..., Any]) -> None:
    result = cli("kernels", "status", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    cpu = found["devices"]["cpu"]
    assert cpu["native"] == native.serves("cpu")
    assert cpu["native"] or (cpu["reason"] and cpu["remedy"])
    assert cli("kernels", "status").out.startswith("device")


def test_building_without_a_compiler_is_one_sentence(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    result = cli("kernels", "build")
    assert result.code == 2 and "no-such-compiler" in result.err


def test_kernels_bench_writes_its_table(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = [bench.Case("bce_with_logits", (3, 5)), bench.Case("reparam_kl", (3, 5))]
    monkeypatch.setattr(bench, "cases", lambda device, quick: few)
    monkeypatch.setattr(bench.run, "__defaults__", (True, False, 0.001, lambda line: None))
    out = tmp_path / "x.csv"
    result = cli("kernels", "bench", "--device", "cpu", "--no-compile", "--json", "--out", out)
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert len(rows) == 2 * 3 * 2  # operations, phases, implementations
    for row in rows:
        assert row["us_20"] <= row["us_50"] <= row["us_80"]
    assert len(out.read_text().splitlines()) == 1 + len(rows)
    bytes_of = {(r["op"], r["phase"]): r["bytes"] for r in rows}
    assert bytes_of["bce_with_logits", "both"] == 15 * 20
    assert bytes_of["reparam_kl", "forward"] == 15 * 12
    assert bytes_of["reparam_kl", "backward"] == 15 * 20


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_COMPILER, reason="needs a C++ compiler")
def test_build_and_pass_every_test_natively(tmp_path: Path) -> None:
    """From nothing to native: build, see it in the status, run test_ops.py with it."""
    env = {**os.environ, "GENTOOL_CACHE": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    env.pop("GENTOOL_KERNELS", None)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *command], env=env, capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    built = run("-m", "gentool", "kernels", "build")
    assert Path(built.stdout.strip()).is_relative_to(tmp_path)
    assert "agree with the reference" in built.stderr
    status = json.loads(run("-m", "gentool", "kernels", "status", "--json").stdout)
    assert status["devices"]["cpu"]["native"]
    assert sorted(p.name for p in Path(built.stdout.strip()).parent.iterdir()) == [
        cache.LIBRARY,
        cache.RECORD,
    ]
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_ops.py")


def test_a_gpu_is_timed_from_work_that_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device waits while the host launches, so that the events enclose its work alone."""
    order: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            order.append("event")

        def synchronize(self) -> None:
            order.append("wait")

        def elapsed_time(self, end: Event) -> float:
            return 2.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: order.append("sleep"))
    call = bench.Call(lambda: order.append("before"), lambda given: order.append("work"))
    assert bench._timed_cuda(call) == 2e-3
    assert order == ["before", "synchronize", "sleep", "event", "work", "event", "wait"]
