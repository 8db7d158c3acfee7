"""Compiles the kernels into the per-user cache: ``gentool kernels build``.

The work is done by torch's `cpp_extension` and ninja in a child process, whose progress is seen;
a second child loads the result and compares it with the reference before it is put in its place,
in one rename.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from gentool import litter, subprocesses
from gentool.ops import cache, sources
from gentool.ops.private import make_private

BUILDING = re.compile(r"\.building-[a-z0-9_]{8}")
"""Names of the folders in which a build is under way."""

_COMPILE = "from gentool.ops.build import compile_here; compile_here({directory!r}, {cuda!r})"
_VERIFY = "from gentool.ops.build import verify; verify({library!r})"


def build() -> Path:
    """Compile, verify and install the library for this machine; returns its path.

    Raises:
        RuntimeError: something is missing or failed; the message says what to do.
    """
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise RuntimeError(
            f"no C++ compiler: {compiler!r} is not on the PATH; install g++ or clang++, or set CXX"
        )
    place = cache.directory() / cache.key()
    try:
        make_private(place.parent)
    except ValueError as error:
        raise RuntimeError(f"{error}; set GENTOOL_CACHE to a folder of your own") from error
    with litter.opened(place.parent) as home:
        if home is not None:
            litter.sweep(home, BUILDING)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=place.parent))
    try:
        targets = cuda_targets() or ""
        _child(_COMPILE.format(directory=str(work), cuda=targets), "compiling")
        library = work / cache.LIBRARY
        _child(_VERIFY.format(library=str(library)), "checking the compiled kernels")
        with library.open("rb") as built:
            os.fchmod(built.fileno(), 0o600)
            os.fsync(built.fileno())
            cache.Record(
                torch=torch.__version__,
                abi=cache.abi(),
                sources=sources.digest(sources.root()),
                size=os.fstat(built.fileno()).st_size,
                sha256=cache.file_hash(built.fileno()),
                targets=targets,
            ).write(work / cache.RECORD)
        # Kept: the library and its record. Objects and ninja's files are no use to anyone.
        for path in work.iterdir():
            if path.name not in (cache.LIBRARY, cache.RECORD):
                path.unlink()
        if place.exists():
            place.rename(work / "previous")
        work.rename(place)
        shutil.rmtree(place / "previous", ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place / cache.LIBRARY


def cuda_targets() -> str | None:
    """The GPU architectures to compile for, or None where CUDA kernels cannot be built."""
    if torch.version.cuda is None or sources.cuda_home() is None:
        return None
    if os.environ.get("TORCH_CUDA_ARCH_LIST"):
        return os.environ["TORCH_CUDA_ARCH_LIST"]
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0):
        return None  # the kernels need Ampere's instructions
    version = tuple(int(part) for part in torch.version.cuda.split(".")[:2])
    return sources.CUDA_TARGETS if version >= (12, 8) else sources.CUDA_TARGETS_BEFORE_12_8


def why_no_cuda() -> str:
    """The reason that `cuda_targets` returned None."""
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    if sources.cuda_home() is None:
        return "no CUDA toolkit with its headers was found; install one, or set CUDA_HOME to it"
    return "the GPU is older than Ampere (compute capability 8.0)"


def compile_here(directory: str, targets: str) -> None:
    """Compile in `directory`, in this process, which must not have loaded a library before."""
    base, cuda = sources.root(), bool(targets)
    if cuda:
        os.environ["TORCH_CUDA_ARCH_LIST"] = targets
        os.environ["CUDA_HOME"] = str(sources.cuda_home())  # the import below takes it from here
    from torch.utils import cpp_extension

    cpp_extension.load(
        name="_C",
        sources=[str(path) for path in sources.sources(base, cuda)],
        extra_cflags=sources.cxx_flags(native=True, cuda=cuda, targets=targets),
        extra_cuda_cflags=sources.nvcc_flags(),
        build_directory=directory,
        with_cuda=cuda,
        verbose=True,
        is_python_module=False,
    )


def verify(library: str) -> None:
    """Load a library and compare each operation with the reference; raises on a difference."""
    from gentool import ops
    from gentool.ops import native

    devices = native._import(Path(library)).devices
    for device in devices:
        if device == "cuda" and not torch.cuda.is_available():
            continue
        step = torch.tensor(3, device=device)
        mu, logvar, eps = (
            ops.philox.normal((33, 41), seed=1, stream=stream, step=step) for stream in (5, 6, 2)
        )
        target = ops.philox.uniform((33, 41), seed=1, stream=2, step=step)
        mu.requires_grad_(), logvar.requires_grad_()

        def results(z: Tensor, kl: Tensor, loss: Tensor, m: Tensor, v: Tensor) -> list[Tensor]:
            return [z, kl, loss, *torch.autograd.grad((kl + loss).sum(), (m, v))]

        z, kl = ops.reparam_kl(mu, logvar, seed=1, stream=2, step=step)
        got = results(z, kl, ops.bce_with_logits(z, target), mu, logvar)
        z, kl = ops.reference.reparam_kl(mu, logvar, eps)
        want = results(z, kl, ops.reference.bce_with_logits(z, target), mu, logvar)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)
        print(f"the {device} kernels agree with the reference", file=sys.stderr)


def _child(code: str, what: str) -> None:
    # ninja is installed beside this Python, whether or not that directory is on the PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    environment = subprocesses.environment(GENTOOL_KERNELS="off", PATH=path)
    # The output is progress, so it goes to stderr, wherever ninja would write it.
    command = subprocesses.python("-c", code)
    done = subprocess.run(command, env=environment, stdout=sys.stderr)
    if done.returncode != 0:
        raise RuntimeError(
            f"{what} failed with status {done.returncode}; the output above says why"
        )
