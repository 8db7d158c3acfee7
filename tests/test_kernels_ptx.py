"""The CUDA kernels as nvcc compiles them: their PTX, run on the CPU, and what a GPU is handed.

The emulation of `test_kernels_sources.py` compiles the same sources with a C++ compiler, which
takes the other side of every `__CUDA_ARCH__`. Here the device's side runs, through the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from emulation import checks, ptx
from emulation.device import (
    HAVE_NVCC,
    approximations_off_by,
    compile_ptx,
    counted,
    cuobjdump,
    loops,
    nvcc,
    registers_and_spills,
)
from emulation.harness import CSRC, CXX, HAVE_CXX, Kernels, mutated_sources
from test_kernels_sources import replace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAVE_NVCC, reason="needs nvcc"),
    pytest.mark.skipif(not HAVE_CXX, reason=f"needs a C++ compiler ({CXX})"),
]
CHECKS = (*checks.ALL, checks.bce_long_rows, checks.reparam_long_rows)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    return Kernels(compile_ptx(tmp_path_factory.mktemp("ptx")), cuda=True)


@pytest.fixture(params=[0.0, 1.0, -1.0], ids=["exact", "high", "low"])
def approximate(kernels: Kernels, request: pytest.FixtureRequest) -> Iterator[None]:
    """Approximate instructions give the right value, or lie at either end of their bounds."""
    with approximations_off_by(kernels.library, request.param):
        yield


@pytest.mark.usefixtures("approximate")
@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_values(kernels: Kernels, check: Callable[[Kernels], None]) -> None:
    check(kernels)


@pytest.mark.usefixtures("approximate")
def test_draws_are_the_twins(kernels: Kernels) -> None:
    checks.draws(kernels, tolerance=5e-6)


@pytest.mark.parametrize("check", [checks.bce_shapes, checks.reparam_drawn])
def test_misaligned_outputs(kernels: Kernels, check: Callable[[Kernels], None]) -> None:
    check(Kernels(kernels.library, cuda=True, shift=1))


@pytest.mark.usefixtures("approximate")
def test_easy_pixels(kernels: Kernels) -> None:
    easy_pixels(kernels)


def instructions(kernels: Kernels, name: str, shape: tuple[int, int], dtype: torch.dtype) -> float:
    """PTX instructions an element, everything that a thread does included, moves excluded."""
    rows, width = shape
    x, t, _ = checks.logits_and_target(shape, dtype, dtype)
    inputs: tuple[object, ...] = (x, t) if name.startswith("bce") else (x, t, None, 1, 2, 3)
    grads: tuple[object, ...] = ()
    if name.endswith("backward"):
        grads = (torch.ones(rows),) if name.startswith("bce") else (x, torch.ones(rows))
    with counted(kernels.library) as executed:
        getattr(kernels, name)(*grads, *inputs)
    return executed.value / (rows * width)


# A tenth less than these, and they are to be lowered. Rows enough that a thread makes four loads
# of short ones; of long ones it makes 32.
@pytest.mark.parametrize(
    ("name", "shape", "dtype", "most"),
    [
        ("bce", (4, 32768), torch.float32, 29.0),
        ("bce", (4, 32768), torch.bfloat16, 33.0),
        ("bce_backward", (4, 32768), torch.float32, 32.2),
        ("bce_backward", (4, 32768), torch.bfloat16, 33.9),
        ("reparam_kl", (32768, 64), torch.float32, 82.5),
        ("reparam_kl", (32768, 64), torch.bfloat16, 85.0),
        ("reparam_kl_backward", (32768, 64), torch.float32, 85.0),
        ("reparam_kl_backward", (32768, 64), torch.bfloat16, 89.5),
    ],
)
def test_instructions_an_element(
    kernels: Kernels, name: str, shape: tuple[int, int], dtype: torch.dtype, most: float
) -> None:
    found = instructions(kernels, name, shape, dtype)
    assert 0.9 * most < found <= most


@pytest.fixture(scope="module", params=["sm_80", "sm_90", "sm_100"])
def compiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, tuple[int, int]], list[Path]]:
    """For one GPU: registers and spills by kernel, and the object files."""
    folder, target = tmp_path_factory.mktemp(request.param), request.param
    said, cubins = "", []
    for source in sorted((CSRC / "cuda").glob("*.cu")):
        cubins.append(folder / f"{source.stem}.cubin")
        said += nvcc(source, cubins[-1], "-cubin", "-Xptxas", "-v", target=target)
    return registers_and_spills(said), cubins


Compiled = tuple[dict[str, tuple[int, int]], list[Path]]
DOUBLE = r"kernelId"


def test_nothing_spills_and_enough_threads_fit(compiled: Compiled) -> None:
    """At least 768 threads a multiprocessor, 1,024 in the packed kernels of drawn noise.

    float64 is there for tests, not for speed.
    """
    resources, _ = compiled
    assert len(resources) > 80
    for name, (registers, spilt) in resources.items():
        if re.search(DOUBLE, name):
            continue
        fast = re.search(r"reparam\w*kernelI\w+Lb1ELb1E", name)
        assert spilt == 0, name
        assert registers <= (64 if fast else 80), name


@pytest.mark.skipif(cuobjdump() is None, reason="needs cuobjdump")
def test_hot_loops_move_vectors_and_nothing_more(compiled: Compiled) -> None:
    """128-bit loads and stores alone, and no more machine instructions an element than there are.

    The packed kernels' names end in the elements of a pack (bce) or in true, true (reparam).
    """
    found = {k: v for cubin in compiled[1] for k, v in loops(cubin).items()}
    seen = 0
    for pattern, elements, loads, stores, most in HOT_LOOPS:
        ((_, body),) = (v for k, v in found.items() if re.search(pattern, k))
        memory = [x for x in body if re.search(r"\b(LDG|STG)\b", x)]
        vectors = [x for x in memory if "128" in x]
        assert len([x for x in vectors if "LDG" in x]) == loads, pattern
        assert len([x for x in vectors if "STG" in x]) == stores, pattern
        if "fhLi" not in pattern:  # uint8 targets are narrower than their logits
            assert memory == vectors, pattern
        assert len(body) / elements <= most, pattern
        seen += 1
    assert seen == len(HOT_LOOPS)


@pytest.mark.skipif(cuobjdump() is None, reason="needs cuobjdump")
def test_reparam_in_fp32_takes_80_instructions_an_element_at_width_64(compiled: Compiled) -> None:
    """Everything outside the loop counted once, whether a thread comes there or not.

    A thread has four packs of four elements where there are rows for all threads.
    """
    found = {k: v for cubin in compiled[1] for k, v in loops(cubin).items()}
    ((total, body),) = (v for k, v in found.items() if "14reparam_kernelIfLb1ELb1E" in k)
    assert (total - len(body)) / 16 + len(body) / 4 <= 80


HOT_LOOPS = (
    # kernel, elements of a turn, 128-bit loads and stores, machine instructions an element
    (r"10bce_kernelIffLi4E", 16, 8, 0, 29.0),
    (r"10bce_kernelIfhLi4E", 16, 4, 0, 33.0),
    (r"10bce_kernelINS_8bfloat16ES1_Li8E", 32, 8, 0, 29.0),
    (r"10bce_kernelINS_6half16ES1_Li8E", 32, 8, 0, 29.0),
    (r"bce_backward_kernelIffLi4E", 16, 8, 4, 31.0),
    (r"bce_backward_kernelIfhLi4E", 16, 4, 4, 34.0),
    (r"bce_backward_kernelINS_8bfloat16ES1_Li8E", 32, 8, 4, 31.0),
    (r"14reparam_kernelIfLb1ELb1E", 4, 2, 1, 58.0),
    (r"14reparam_kernelINS_8bfloat16ELb1ELb1E", 8, 2, 1, 58.0),
    (r"reparam_backward_kernelIfLb1ELb1E", 4, 3, 2, 63.0),
    (r"reparam_backward_kernelINS_8bfloat16ELb1ELb1E", 8, 3, 2, 63.0),
)


# What only nvcc sees, broken one piece at a time.
BCE, REPARAM, DRAW = r"bce\w*kernelIff", r"reparam\w*kernelIf", r"draw_kernelIf"
HALVES = r"bce\w*kernelINS_\w+16ES1_"


def draws(kernels: Kernels) -> None:
    checks.draws(kernels, tolerance=5e-6)


def easy_pixels(kernels: Kernels) -> None:
    checks.bce_easy_alone(kernels, 5e-7)  # the CPU's exponential is not quite as good


def bce_halves(kernels: Kernels) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        checks.bce_values(kernels, *checks.logits_and_target((3, 64), dtype, dtype))


def reparam_doubles(kernels: Kernels) -> None:
    mu, logvar, eps = checks.moments((3, 64), torch.float64)
    checks.reparam_values(kernels, mu, logvar, eps.double(), eps)


MUTANTS = {
    # name: file, change, the source whose kernels run, which of them, the check that must fail
    "half of log2(e) not put right": (
        "math.h", replace("fmaf(x, rest_of_log2e, fmaf(x, log2e, -y))", "fmaf(x, log2e, -y)"),
        "reparam", REPARAM, checks.reparam_extremes),
    "exponent not put right": (
        "math.h", replace("power * fmaf(missing, 0.693147181f * scale, scale)", "power * scale"),
        "bce", BCE, easy_pixels),
    "exponent put right in base 2": (
        "math.h", replace("0.693147181f * scale", "scale"), "bce", BCE, easy_pixels),
    "small exponentials cut off": (
        "math.h", replace("scaled_exp(at_least(-106.0f, x)", "scaled_exp(at_least(-30.0f, x)"),
        "bce", BCE, easy_pixels),
    "large deviations cut off": (
        "math.h", replace("at_most(178.0f, at_least(-212.0f, v))",
                          "at_most(120.0f, at_least(-212.0f, v))"),
        "reparam", REPARAM, checks.reparam_extremes),
    "small deviations cut off": (
        "math.h", replace("at_least(-212.0f, v)", "at_least(-20.0f, v)"),
        "reparam", REPARAM, checks.reparam_extremes),
    "variance for deviation": (
        "math.h", replace("v)), 0.5f, 1.0f)", "v)), 1.0f, 1.0f)"),
        "reparam", REPARAM, checks.reparam_given),
    "NaN lost in a maximum": (
        "math.h", replace("max.NaN.f32", "max.f32"), "bce", BCE, checks.bce_extremes),
    "NaN lost in a minimum": (
        "math.h", lambda text: text.replace("max.NaN.f32", "max.f32").replace(
            "min.NaN.f32", "min.f32"), "reparam", REPARAM, checks.reparam_extremes),
    "the other side of the selection": (
        "math.h", replace("setp.lt.f32 %%small", "setp.gt.f32 %%small"),
        "reparam", REPARAM, checks.reparam_given),
    "selection at 2": (
        "math.h", replace("0f3F800000", "0f40000000"), "reparam", REPARAM, checks.reparam_given),
    "selection without the sign": (
        "math.h", replace(': "f"(fabsf(v)), "f"(a)', ': "f"(v), "f"(a)'),
        "reparam", REPARAM, checks.reparam_given),
    "half of a Newton step": (
        "math.h", replace("fmaf(fmaf(-d, r, 1.0f), r, r)", "fmaf(-d, r, 2.0f)"),
        "bce", BCE, checks.bce_shapes),
    "no constant term": (
        "math.h", replace("for (int i = N - 2; i >= 0; --i) value = madd",
                          "for (int i = N - 2; i >= 1; --i) value = madd"),
        "bce", BCE, checks.bce_shapes),
    "signed product": (
        "math.h", replace("mul.wide.u32", "mul.wide.s32"), "reparam", DRAW, draws),
    "sine for cosine": (
        "math.h", replace("cosine = __cosf(angle)", "cosine = __sinf(angle)"),
        "reparam", DRAW, draws),
    "a turn a little short": (
        "math.h", replace("1.46291807e-09f;\n  cosine", "1.462910e-09f;\n  cosine"),
        "reparam", DRAW, draws),
    "halves read as bfloat16": (
        "dtypes.h", replace("cvt.f32.f16", "cvt.f32.bf16"), "bce", HALVES, bce_halves),
    "bfloat16 cut instead of rounded": (
        "dtypes.h", replace("cvt.rn.bf16.f32", "cvt.rz.bf16.f32"), "bce", HALVES, bce_halves),
    "halves cut instead of rounded": (
        "dtypes.h", replace("cvt.rn.f16.f32", "cvt.rz.f16.f32"), "bce", HALVES, bce_halves),
    "words of a store swapped": (
        "cuda/rows.cuh", replace('"r"(words[k + 1]), "r"(words[k + 2])',
                                 '"r"(words[k + 2]), "r"(words[k + 1])'),
        "bce", BCE, checks.bce_shapes),
    "half a store": (
        "cuda/rows.cuh", replace("st.global.v4.b32 [%0], {%1, %2, %3, %4}",
                                 "st.global.v2.b32 [%0], {%1, %2}"),
        "bce", BCE, checks.bce_shapes),
    "two stores to one place": (
        "cuda/rows.cuh", replace("<uint32_t*>(p) + k", "<uint32_t*>(p)"),
        "reparam", r"reparam\w*kernelId", reparam_doubles),
    "misaligned vectors": (
        "cuda/rows.cuh", replace("% alignof(Pack<S, N>) == 0", "% alignof(S) == 0"),
        "bce", BCE, checks.bce_strided),
    "no barrier before the sums are read": (
        "cuda/rows.cuh", replace("of_warp[warp] = value;\n  __syncthreads();",
                                 "of_warp[warp] = value;"),
        "bce", BCE, checks.bce_shapes),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_device_code_is_found_out(name: str, tmp_path: Path) -> None:
    file, change, source, only, check = MUTANTS[name]
    csrc = mutated_sources(tmp_path / "csrc", file, change)
    library = compile_ptx(tmp_path, csrc, f"{source}.cu", only)
    with pytest.raises(AssertionError) as caught:
        check(Kernels(library, cuda=True))
    assert "CUDA error 98" not in str(caught.value), "the check asks for a kernel left out"


def test_what_is_not_known_is_not_guessed() -> None:
    entry = ".visible .entry f()\n{{\n.reg .b32 %r<3>;\n{};\nret;\n}}\n"
    assert ptx.translate(entry.format("add.s32 %r1, %r2, 1")).kernels == ("f",)
    for unknown in ("popc.b32 %r1, %r2", "add.sat.s32 %r1, %r2, 1", "mov.u32 %r1, %laneid",
                    "ld.local.u32 %r1, [%r2]", "cvt.rp.f16.f32 %r1, %r2",
                    "shfl.sync.up.b32 %r1, %r2, 1, 0, -1"):  # fmt: skip
        with pytest.raises(ptx.TranslationError, match=unknown.split()[0]):
            ptx.translate(entry.format(unknown))
