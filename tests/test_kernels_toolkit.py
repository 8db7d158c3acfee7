"""Finding a CUDA toolkit that can compile, and refusing a library without code for the GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gentool.ops import build, cache, native, sources


def toolkit(folder: Path) -> Path:
    """A folder with what marks a toolkit, and its compiler."""
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "cuda_runtime_api.h").touch()
    (folder / "bin").mkdir()
    (folder / "bin" / "nvcc").touch(mode=0o755)
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable names a toolkit, and the nvcc of the PATH is a wrapper far from one."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    wrapper = tmp_path / "bin" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text("#!/bin/sh\nexit 1\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent))
    is_file = Path.is_file  # whatever lies in /usr/local of this machine
    monkeypatch.setattr(
        Path, "is_file", lambda p: not str(p).startswith("/usr/local") and is_file(p)
    )
    return tmp_path


def test_a_wrapper_is_no_toolkit(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.cuda_home() is None
    monkeypatch.setattr("torch.version.cuda", "13.0")
    assert build.cuda_targets() is None  # the CPU kernels are built all the same
    assert "no CUDA toolkit with its headers" in build.why_no_cuda()


def test_a_folder_without_headers_is_passed_over(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "empty").mkdir()
    monkeypatch.setenv("CUDA_HOME", str(bare / "empty"))
    assert sources.cuda_home() is None
    monkeypatch.setenv("CUDA_PATH", str(toolkit(bare / "whole")))
    assert sources.cuda_home() == bare / "whole"


def test_the_nvcc_of_a_toolkit_leads_to_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = toolkit(bare / "cuda-13")
    (bare / "link").symlink_to(home)
    monkeypatch.setenv("PATH", str(bare / "link" / "bin"))
    assert sources.cuda_home() == home


def test_the_usual_place_comes_last(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = "/usr/local/cuda/include/cuda_runtime_api.h"
    monkeypatch.setattr(Path, "is_file", lambda p: str(p) == usual)
    assert sources.cuda_home() == Path("/usr/local/cuda")


@pytest.mark.parametrize(
    ("targets", "capability", "covered"),
    [
        ("8.0;9.0", (8, 0), True),
        ("8.0;9.0", (8, 9), True),  # code for 8.0 runs on all of its generation
        ("8.6;9.0", (8, 0), False),
        ("8.0;9.0", (10, 0), False),
        ("8.0 9.0+PTX", (10, 0), True),  # which compiles PTX for itself
        ("8.0,9.0+PTX", (7, 5), False),
        ("9.0a", (9, 0), True),
        ("9.0a+PTX", (10, 0), False),
        (sources.CUDA_TARGETS, (12, 0), True),
        ("Hopper", (9, 0), True),  # not readable: not refused
    ],
)
def test_which_gpus_a_library_has_code_for(
    targets: str, capability: tuple[int, int], covered: bool
) -> None:
    assert sources.covers(targets, capability) == covered


def test_a_library_for_another_gpu_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its operations would each fail with CUDA's error 209, though it "serves" CUDA."""
    record = cache.Record(
        torch=torch.__version__,
        abi=cache.abi(),
        sources=sources.digest(sources.root()),
        size=-1,
        sha256="",
        targets="9.0",
    )
    monkeypatch.setattr(native, "_capabilities", lambda: [(9, 0), (8, 0)])
    with pytest.raises(ValueError, match=r"no code for a GPU of compute capability 8\.0, only"):
        native._check(record, 0)
    for other in (dataclasses.replace(record, targets="8.0;9.0"),
                  dataclasses.replace(record, targets="")):  # fmt: skip
        with pytest.raises(ValueError, match="bytes long"):  # the next thing that is looked at
            native._check(other, 0)
