"""What nvcc makes of the CUDA sources: as a library that runs here, and as a GPU would read it.

`compile_ptx` gives the kernels' PTX, translated (`ptx.py`), in place of their C++: code behind
`__CUDA_ARCH__` runs, and so does everything else that only nvcc's own front end sees.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from emulation import ptx
from emulation.harness import CSRC, CXX, HERE

HAVE_NVCC = shutil.which("nvcc") is not None
ARCHITECTURE = "sm_90"


def nvcc(source: Path, out: Path, *flags: str, target: str = ARCHITECTURE) -> str:
    """Compile one CUDA source as `gentool.ops.sources.nvcc_flags` does; returns what it said."""
    command = ["nvcc", "-std=c++17", "-O3", f"-arch={target}", *flags, str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def compile_ptx(folder: Path, csrc: Path = CSRC, file: str = "*.cu", only: str = "") -> ctypes.CDLL:
    """The CUDA kernels as a library for `harness.Kernels`, which runs their PTX.

    Args:
        folder: where everything is put.
        file: the sources to take.
        only: a pattern of mangled names; a kernel left out cannot be launched (error 98).
    """
    include = HERE / "include"
    flags = ["-std=c++17", "-fPIC", "-O0", "-ffp-contract=off", "-fwrapv", "-w"]
    flags += ["-DGENTOOL_RUN_PTX", f"-I{include}", "-x", "c++"]
    work: list[tuple[Path, Path]] = [(include / "ptx.cpp", folder / "ptx.o")]
    for source in sorted((csrc / "cuda").glob(file)):
        text, code = folder / f"{source.stem}.ptx", folder / f"{source.stem}_ptx.cpp"
        nvcc(source, text, "-ptx")
        code.write_text(ptx.translate(text.read_text(), only).code)
        work += [(code, code.with_suffix(".o")), (source, folder / f"{source.stem}.o")]
    compilers = [subprocess.Popen([CXX, *flags, "-c", source, "-o", out]) for source, out in work]
    assert [c.wait() for c in compilers] == [0] * len(compilers)
    library = folder / "kernels.so"
    objects = [str(out) for _, out in work]
    subprocess.run([CXX, "-shared", "-o", str(library), *objects, "-ldl"], check=True)
    return ctypes.CDLL(str(library))


@contextlib.contextmanager
def approximations_off_by(library: ctypes.CDLL, parts: float) -> Iterator[None]:
    """Have every approximate instruction err by so many parts of what its makers allow."""
    error = ctypes.c_double.in_dll(library, "ptx_error")
    error.value = parts
    try:
        yield
    finally:
        error.value = 0.0


@contextlib.contextmanager
def counted(library: ctypes.CDLL) -> Iterator[ctypes.c_long]:
    """Counts the PTX instructions other than moves that run inside, over all threads."""
    executed = ctypes.c_long.in_dll(library, "ptx_executed")
    executed.value = 0
    yield executed


def cuobjdump() -> str | None:
    """CUDA's disassembler: that of the PATH, else the one that Triton brings along."""
    if found := shutil.which("cuobjdump"):
        return found
    triton = importlib.util.find_spec("triton")
    for folder in (triton.submodule_search_locations or ()) if triton is not None else ():
        tool = Path(folder) / "backends" / "nvidia" / "bin" / "cuobjdump"
        if tool.is_file():
            return str(tool)
    return None


def registers_and_spills(said: str) -> dict[str, tuple[int, int]]:
    """From what `ptxas -v` says: each kernel's registers, and the bytes that it spills."""
    pattern = r"entry function '(\S+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
    return {k: (int(used), int(spilt)) for k, spilt, used in re.findall(pattern, said, re.S)}


def loops(cubin: Path) -> dict[str, tuple[int, list[str]]]:
    """How many machine instructions each kernel has, and those of its longest loop."""
    tool = cuobjdump()
    assert tool is not None
    done = subprocess.run([tool, "-sass", str(cubin)], capture_output=True, text=True, check=True)
    found: dict[str, tuple[int, list[str]]] = {}
    for function in done.stdout.split("Function : ")[1:]:
        lines = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", function, re.M)
        code = {int(address, 16): text for address, text in lines}
        bodies: list[list[str]] = [[]]
        for end, text in code.items():
            target = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
            if target is not None and (begin := int(target[1], 16)) < end:
                bodies.append([t for address, t in code.items() if begin <= address <= end])
        instructions = sum(text != "NOP" for text in code.values())
        found[function.split()[0]] = instructions, max(bodies, key=len)
    return found
