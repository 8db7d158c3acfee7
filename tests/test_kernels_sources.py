"""The kernel sources themselves: CPU kernels, and CUDA kernels under emulation, without torch.

Also the tests of the tests: deliberately wrong kernels, each of which must be found out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from emulation import checks
from emulation.harness import (
    CSRC,
    CXX,
    HAVE_CXX,
    DrawArgs,
    Kernels,
    Noise,
    Rows,
    compile_library,
    mutated_sources,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAVE_CXX, reason=f"needs a C++ compiler ({CXX})"),
]

KINDS = ("cpu", "cuda")


@pytest.fixture(scope="module", params=KINDS)
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    kind = request.param
    out = tmp_path_factory.mktemp(kind) / "kernels.so"
    return Kernels(compile_library(out, cuda=kind == "cuda"), cuda=kind == "cuda")


@pytest.mark.parametrize("check", checks.ALL, ids=lambda f: f.__name__)
def test_kernels_keep_their_bounds_against_float64(
    kernels: Kernels, check: Callable[[Kernels], None]
) -> None:
    check(kernels)


def test_draws_are_the_twins_bit_for_bit(kernels: Kernels) -> None:
    checks.draws(kernels, tolerance=0.0)


@pytest.mark.parametrize("check", [checks.bce_shapes, checks.reparam_drawn])
def test_misaligned_outputs(kernels: Kernels, check: Callable[[Kernels], None]) -> None:
    check(Kernels(kernels.library, kernels.cuda, shift=1))


def test_results_do_not_depend_on_the_division_of_work(kernels: Kernels) -> None:
    if kernels.cuda:
        pytest.skip("the CUDA kernels divide the work themselves")
    x, t, _ = checks.logits_and_target((37, 1271), torch.float32, torch.float32)

    class OnePart(Kernels):
        def run(self, name, args, shape, parts=1):  # type: ignore[no-untyped-def]
            super().run(name, args, shape, parts=parts)

    assert torch.equal(kernels.bce(x, t), OnePart(kernels.library, False).bce(x, t))


@pytest.mark.parametrize("check", [checks.bce_long_rows, checks.reparam_long_rows])
def test_long_rows_are_split_the_same_way_for_every_device(
    kernels: Kernels, check: Callable[[Kernels], None]
) -> None:
    check(kernels)


def test_more_blocks_than_a_grid_holds_are_refused(kernels: Kernels) -> None:
    """Nothing is left out in silence; no GPU of today has the memory to ask for it."""
    if not kernels.cuda:
        pytest.skip("the CPU kernels have no grid")
    step = torch.tensor(0)
    rows, width = 2**31, 2**16  # a block a row
    args = DrawArgs(rows, width, Noise(step.data_ptr(), 0, 0), Rows(0, width, 0), 1)
    with pytest.raises(AssertionError, match="CUDA error 9"):
        kernels.run("draw", args, (rows, width))


def replace(old: str, new: str, count: int = 0) -> Callable[[str], str]:
    return lambda text: re.sub(re.escape(old), new, text, count=count)


def later_step(text: str) -> str:
    """The backward pass of the CPU kernel draws the noise of the next step."""
    begin = "spread(a.kl, tile, gk);"
    other = "ReparamArgs next = a; int64_t s = a.noise.step ? *a.noise.step + 1 : 0;"
    head, tail = text.split(begin)
    return (
        head
        + begin
        + other
        + "next.noise.step = &s;"
        + tail.replace("noise_for(a,", "noise_for(next,")
    )


MUTANTS = {
    # name: kind, file, change, a check that must fail
    "zero gradient": (
        "cpu", "cpu/bce.cpp", replace("bce_slope(x[i], t[i]) * grad[i]", "0"), checks.bce_shapes),
    "gradient ignores upstream": (
        "cpu", "cpu/bce.cpp", replace("bce_slope(x[i], t[i]) * grad[i]", "bce_slope(x[i], t[i])"),
        checks.bce_shapes),
    "dropped tail": (
        "cpu", "cpu/tiles.h", replace("for (int k = 0; i + k < n; ++k) lane[k] += x[i + k];", ""),
        checks.bce_shapes),
    "wrong stream": (
        "cpu", "cpu/noise.cpp", replace("noise.key", "(noise.key + 1)"), checks.reparam_drawn),
    "noise of the local row": (
        "cpu", "cpu/noise.cpp", replace("noise.row_offset + ", ""), checks.reparam_drawn),
    "backward redraws another step": (
        "cpu", "cpu/reparam.cpp",
        later_step,
        checks.reparam_drawn),
    "cancelling loss": (
        "cpu", "math.h", replace("const T weight = x < T(0) ? madd(T(0), x, t) : T(1) - t;",
                                 "const T weight = T(1) - t; if (x < T(0)) return "
                                 "madd(weight, x, log1p_twice(half_exp_quick(below)) - x);"),
        checks.bce_easy_pixels),
    "no NaN at minus infinity": (
        "cpu", "math.h", replace("madd(T(0), x, t)", "t"), checks.bce_extremes),
    "cuda zero gradient": (
        "cuda", "cuda/bce.cu", replace("const T grad = value_of<T>(a.sums, u.row);",
                                       "const T grad = T(0);"), checks.bce_shapes),
    "cuda dropped tail": (
        "cuda", "cuda/rows.cuh", replace("one(i < head ? i : body + (i - head));",
                                         "if (i < head) one(i);"), checks.bce_shapes),
    "cuda dropped head": (
        "cuda", "cuda/rows.cuh", replace("one(i < head ? i : body + (i - head));",
                                         "if (i >= head) one(body + (i - head));"),
        checks.bce_shapes),
    "cuda wrong stream": (
        "cuda", "cuda/reparam.cu", replace("round_keys(noise.key)", "round_keys(noise.key + 1)"),
        checks.reparam_drawn),
    "cuda missing barrier": (
        "cuda", "cuda/rows.cuh", replace("of_warp[warp] = value;\n  __syncthreads();",
                                         "of_warp[warp] = value;"), checks.bce_shapes),
    "cuda half a warp summed": (
        "cuda", "cuda/rows.cuh", replace("(u.group < 32 ? u.group : 32) / 2", "(u.group < 32 ? "
                                         "u.group : 32) / 4"), checks.reparam_given),
    "cuda rows of another block": (
        "cuda", "cuda/rows.cuh", replace("(kBlock >> plan.shift) +", "kBlock +"),
        checks.reparam_given),
    "cuda segments one short": (
        "cuda", "cuda/rows.cuh", replace("(index - row *", "(index + 1 - row *"),
        checks.bce_long_rows),
    "cuda counters of one pack repeated": (
        "cuda", "cuda/reparam.cu", replace("words_at(noise, step, u, j + k)",
                                           "words_at(noise, step, u, j)"),
        checks.reparam_drawn),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_kernels_are_found_out(name: str, tmp_path: Path) -> None:
    kind, file, change, check = MUTANTS[name]
    csrc = mutated_sources(tmp_path / "csrc", file, change)
    cuda = kind == "cuda"
    flags = ("-O0" if cuda else "-O1", "-Wno-error")
    only = "bce.cu" if "bce" in check.__name__ else "reparam.cu"
    library = compile_library(
        tmp_path / "kernels.so", cuda=cuda, csrc=csrc, flags=flags, only=only if cuda else "*.cpp"
    )
    with pytest.raises(AssertionError):
        check(Kernels(library, cuda=cuda))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/local/cuda/include").is_dir(), reason="needs CUDA's headers")
def test_the_cuda_binding_compiles(tmp_path: Path) -> None:
    """A syntax check against torch's headers; a CPU build of torch lacks one generated file."""
    from torch.utils.cpp_extension import include_paths

    include = [f"-I{path}" for path in (*include_paths(), "/usr/local/cuda/include")]
    command = [CXX, "-std=c++20", "-fsyntax-only", "-DC10_CUDA_NO_CMAKE_CONFIGURE_FILE", *include]
    done = subprocess.run(
        [*command, str(CSRC / "bindings_cuda.cpp")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
