"""What the compiled library is made of: sources and flags, for `setup.py` and for `build.py`.

Standard library only, and loadable by its path alone, since setup.py runs before anything is
installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent

# Ampere, Hopper and Blackwell; PTX lets later GPUs compile for themselves.
CUDA_TARGETS = "8.0;9.0;10.0+PTX"
CUDA_TARGETS_BEFORE_12_8 = "8.0;9.0+PTX"


def root() -> Path:
    """The directory of the sources: `gentool/_csrc` in a wheel, `csrc` in a checkout."""
    packaged = _PACKAGE / "_csrc"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "csrc"


def sources(base: Path, cuda: bool) -> list[Path]:
    """The files to compile."""
    bindings = ("module", "autograd", "cpu", *(("cuda",) if cuda else ()))
    files = [base / f"bindings_{name}.cpp" for name in bindings]
    files += sorted((base / "cpu").glob("*.cpp"))
    if cuda:
        files += sorted((base / "cuda").glob("*.cu"))
    return files


def cuda_home() -> Path | None:
    """The CUDA toolkit to compile with, or None where there is none that has its headers.

    CUDA_HOME, CUDA_PATH, then the folder above nvcc, then /usr/local/cuda. The first nvcc on the
    PATH may be a wrapper, beside which there is nothing to compile with.
    """
    named = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    folders = [Path(value) for value in named if value]
    if compiler := shutil.which("nvcc"):
        folders.append(Path(compiler).resolve().parents[1])
    for folder in (*folders, Path("/usr/local/cuda")):
        if (folder / "include" / "cuda_runtime_api.h").is_file():
            return folder
    return None


def covers(targets: str, capability: tuple[int, int]) -> bool:
    """Whether a library for `targets` has code for a GPU of this compute capability.

    Code runs on GPUs of its own generation that are not older, and PTX on all that are not;
    a target with a letter, such as 9.0a, on that very one. True where no target can be read.
    """
    found = re.findall(r"(\d+)\.(\d+)([a-z]?)(\+PTX)?", targets)
    for major, minor, letter, ptx in found:
        target = (int(major), int(minor))
        if target == capability or (not letter and ptx and target < capability):
            return True
        if not letter and target[0] == capability[0] and target < capability:
            return True
    return not found


def digest(base: Path) -> str:
    """A hash of every source and header and of this file, which holds the flags."""
    total = hashlib.sha256()
    for path in [Path(__file__), *sorted(p for p in base.rglob("*") if p.is_file())]:
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def cxx_flags(native: bool, cuda: bool, targets: str = "") -> list[str]:
    """Flags for C++ sources.

    `native` builds for this processor, otherwise for any x86-64 with AVX2 and FMA (x86-64-v3).
    No fast-math: NaN and infinities keep their meaning. errno and traps only stand in the way of
    vectors; contraction is off because the noise must round alike everywhere (see math.h).
    """
    flags = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    # The loops are long chains of dependent operations: several of them have to be interleaved.
    flags += ["-funroll-loops", "-fschedule-insns"]
    if native:
        flags.append("-mcpu=native" if sys.platform == "darwin" else "-march=native")
    elif platform.machine() in ("x86_64", "AMD64"):
        flags.append("-march=x86-64-v3")
    if sys.platform == "linux":
        # Compiled in, but not linked: the symbols are those of the OpenMP runtime torch has
        # loaded. Linking would bring a second one, and two pools of threads.
        # The other flag quiets a note on how old compilers passed vectors to functions.
        flags += ["-fopenmp", "-Wno-psabi"]
    if cuda:
        # No quotes, no semicolons: the flags pass through a shell in one build but not in another.
        flags += ["-DGENTOOL_WITH_CUDA", f"-DGENTOOL_CUDA_TARGETS={re.sub('[;, ]+', ',', targets)}"]
    return flags


def nvcc_flags() -> list[str]:
    """Flags for CUDA sources, beside the targets that torch takes from TORCH_CUDA_ARCH_LIST."""
    return ["-O3", "-lineinfo"]
