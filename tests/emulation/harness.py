"""Compiles the kernel sources without torch and calls them on torch's memory, through ctypes.

The same class drives the CPU kernels and, under the emulation header, the CUDA kernels. Outputs
are poisoned and fenced, so that an element left out or written beside the tensor is noticed.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
CXX = os.environ.get("CXX", "g++")
HAVE_CXX = shutil.which(CXX) is not None
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3, torch.uint8: 4}
FENCE = 64  # elements of sentinel before and after each output


class Rows(Structure):
    _fields_ = (("data", c_void_p), ("stride", c_int64), ("dtype", c_int32))


class PerRow(Structure):
    _fields_ = (("data", c_void_p), ("stride", c_int64))


class Noise(Structure):
    _fields_ = (("step", c_void_p), ("key", c_uint64), ("row_offset", c_int64))


class BceArgs(Structure):
    _fields_ = (
        ("rows", c_int64),
        ("width", c_int64),
        ("logits", Rows),
        ("target", Rows),
        ("sums", PerRow),
        ("grad_logits", Rows),
        ("partial", c_void_p),
    )


class ReparamArgs(Structure):
    _fields_ = (
        ("rows", c_int64),
        ("width", c_int64),
        ("mu", Rows),
        ("logvar", Rows),
        ("eps", Rows),
        ("noise", Noise),
        ("z", Rows),
        ("kl", PerRow),
        ("grad_mu", Rows),
        ("grad_logvar", Rows),
        ("partial", c_void_p),
    )


class DrawArgs(Structure):
    _fields_ = (
        ("rows", c_int64),
        ("width", c_int64),
        ("noise", Noise),
        ("out", Rows),
        ("normal", c_int32),
    )


def rows(x: Tensor) -> Rows:
    assert x.dim() == 2 and (x.shape[1] <= 1 or x.stride(1) == 1)
    return Rows(x.data_ptr(), x.stride(0), DTYPES[x.dtype])


def per_row(x: Tensor) -> PerRow:
    return PerRow(x.data_ptr(), x.stride(0))


class Fenced:
    """An output tensor full of poison, with a fence on either side; `shift` misaligns it."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, shift: int = 0) -> None:
        size = int(torch.Size(shape).numel())
        self.store = torch.full((size + 2 * FENCE + shift,), float("nan"), dtype=dtype)
        self.tensor = self.store[FENCE + shift : FENCE + shift + size].view(tuple(shape))
        self.inside = slice(FENCE + shift, FENCE + shift + size)

    def checked(self) -> Tensor:
        fence = self.store.clone()
        fence[self.inside] = float("nan")
        assert bool(fence.isnan().all()), "a kernel wrote beside its output"
        return self.tensor


def compile_library(
    out: Path,
    cuda: bool,
    csrc: Path = CSRC,
    flags: Sequence[str] = ("-O1",),
    only: str = "",
) -> ctypes.CDLL:
    """The CPU kernels, or the CUDA kernels under emulation, as a shared library."""
    pattern = only or ("*.cu" if cuda else "*.cpp")
    sources = sorted((csrc / ("cuda" if cuda else "cpu")).glob(pattern))
    command = [CXX, "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
    command += ["-ffp-contract=off", "-Wall", "-Werror", "-Wno-psabi", "-Wno-maybe-uninitialized"]
    command += [*flags, "-o", str(out)]
    if cuda:
        command += ["-Wno-unknown-pragmas"]
        command += [f"-I{HERE / 'include'}", "-x", "c++"]
    done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))


class Kernels:
    """The kernels of a library as functions of tensors; `shift` misaligns the outputs."""

    def __init__(self, library: ctypes.CDLL, cuda: bool, shift: int = 0) -> None:
        self.library, self.cuda, self.shift = library, cuda, shift
        for name in ("gentool_cpu_segments", "gentool_cpu_units", "gentool_cuda_segments"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype, function.argtypes = (
                    c_int64,
                    [c_int64] * (1 if name == "gentool_cpu_segments" else 2),
                )

    def run(self, name: str, args: Structure, shape: Sequence[int], parts: int = 3) -> None:
        if self.cuda:
            function = getattr(self.library, f"gentool_cuda_{name}")
            function.argtypes = [POINTER(type(args)), c_void_p]
            status = function(byref(args), None)
            assert status == 0, f"{name} returned CUDA error {status}"
            return
        function = getattr(self.library, f"gentool_cpu_{name}")
        function.argtypes = [POINTER(type(args)), c_int64, c_int64]
        function.restype = None
        units = self.library.gentool_cpu_units(*shape)
        cuts = sorted({units * i // parts for i in range(parts + 1)} | {0, units})
        for begin, end in itertools.pairwise(cuts):
            function(byref(args), begin, end)

    def partial(self, shape: Sequence[int]) -> Tensor:
        name = "gentool_cuda_segments" if self.cuda else "gentool_cpu_segments"
        # A library of one CUDA source alone may lack the function, and then rows are short.
        segments = getattr(self.library, name, lambda *_: 1)
        count = segments(*(shape if self.cuda else shape[1:]))
        return torch.full((shape[0], max(count, 1)), float("nan"), dtype=torch.float64)

    def fold(self, partial: Tensor, sums: Tensor) -> None:
        if self.cuda or partial.shape[1] == 1:
            return
        function = self.library.gentool_cpu_fold
        function.argtypes = [c_void_p, c_int64, c_int64, PerRow, c_int32]
        function.restype = None
        wide = int(sums.dtype == torch.float64)
        function(partial.data_ptr(), *partial.shape, per_row(sums), wide)

    def bce(self, logits: Tensor, target: Tensor) -> Tensor:
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        sums, partial = Fenced(logits.shape[:1], wide, self.shift), self.partial(logits.shape)
        args = BceArgs(*logits.shape, rows(logits), rows(target), per_row(sums.tensor))
        args.partial = partial.data_ptr()
        self.run("bce", args, logits.shape)
        self.fold(partial, sums.tensor)
        return sums.checked()

    def bce_backward(self, grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        out = Fenced(logits.shape, logits.dtype, self.shift)
        args = BceArgs(*logits.shape, rows(logits), rows(target), per_row(grad), rows(out.tensor))
        self.run("bce_backward", args, logits.shape)
        return out.checked()

    def reparam_kl(
        self, mu: Tensor, logvar: Tensor, eps: Tensor | None, key: int, step: int, offset: int
    ) -> tuple[Tensor, Tensor]:
        wide = torch.float64 if mu.dtype == torch.float64 else torch.float32
        z, kl = Fenced(mu.shape, mu.dtype, self.shift), Fenced(mu.shape[:1], wide, self.shift)
        partial = self.partial(mu.shape)
        counter = torch.tensor(step)
        args = ReparamArgs(
            *mu.shape, rows(mu), rows(logvar), rows(eps) if eps is not None else Rows()
        )
        args.noise = Noise(counter.data_ptr(), key, offset)
        args.z, args.kl, args.partial = rows(z.tensor), per_row(kl.tensor), partial.data_ptr()
        self.run("reparam", args, mu.shape)
        self.fold(partial, kl.tensor)
        return z.checked(), kl.checked()

    def reparam_kl_backward(
        self,
        grad_z: Tensor,
        grad_kl: Tensor,
        mu: Tensor,
        logvar: Tensor,
        eps: Tensor | None,
        key: int,
        step: int,
        offset: int,
    ) -> tuple[Tensor, Tensor]:
        first, second = (Fenced(mu.shape, mu.dtype, self.shift) for _ in range(2))
        counter = torch.tensor(step)
        args = ReparamArgs(
            *mu.shape, rows(mu), rows(logvar), rows(eps) if eps is not None else Rows()
        )
        args.noise = Noise(counter.data_ptr(), key, offset)
        args.z, args.kl = rows(grad_z), per_row(grad_kl)
        args.grad_mu, args.grad_logvar = rows(first.tensor), rows(second.tensor)
        self.run("reparam_backward", args, mu.shape)
        return first.checked(), second.checked()

    def draw(
        self, kind: str, shape: Sequence[int], key: int, step: int, offset: int, dtype: Any
    ) -> Tensor:
        out, counter = Fenced(shape, dtype, self.shift), torch.tensor(step)
        noise = Noise(counter.data_ptr(), key, offset)
        args = DrawArgs(*shape, noise, rows(out.tensor), int(kind == "normal"))
        self.run("draw", args, shape)
        return out.checked()


def mutated_sources(out: Path, file: str, change: Callable[[str], str]) -> Path:
    """A copy of csrc in which one file is changed; the change must change something."""
    shutil.copytree(CSRC, out)
    path = out / file
    text = path.read_text()
    changed = change(text)
    assert changed != text, "the mutation no longer applies"
    path.write_text(changed)
    return out
