"""The compiled kernels' part of the build; everything else is in pyproject.toml.

Without asking, this package is pure Python and carries the kernels' sources, which
``gentool kernels build`` compiles. ``GENTOOL_BUILD_KERNELS=1 pip install --no-build-isolation .``
compiles them ahead of time with the torch that is installed: for any x86-64 with AVX2, and for
CUDA where nvcc is at hand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithSources(build_py):
    """Puts csrc into the package as gentool/_csrc; an editable install finds it in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "gentool" / "_csrc"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / "csrc", target)


def shared_list() -> ModuleType:
    """gentool/ops/sources.py by its path: importing the package would need torch."""
    path = HERE / "gentool" / "ops" / "sources.py"
    spec = importlib.util.spec_from_file_location("gentool_sources", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ahead_of_time() -> dict[str, Any]:
    """The extension module and the command that builds it, with torch's help."""
    import torch

    sources = shared_list()
    home = sources.cuda_home()
    cuda = torch.version.cuda is not None and home is not None
    if cuda:
        os.environ["CUDA_HOME"] = str(home)  # the import below takes it from here
    elif torch.version.cuda is not None:
        print("building the kernels for the CPU only: no CUDA toolkit with its headers was found")
    from torch.utils import cpp_extension

    targets = ""
    if cuda:
        new = tuple(int(n) for n in torch.version.cuda.split(".")[:2]) >= (12, 8)
        usual = sources.CUDA_TARGETS if new else sources.CUDA_TARGETS_BEFORE_12_8
        targets = os.environ.setdefault("TORCH_CUDA_ARCH_LIST", usual)

    class BuildWithRecord(cpp_extension.BuildExtension):  # type: ignore[misc]
        """Writes gentool/_C.json beside the library; gentool/ops/native.py reads it first."""

        def run(self) -> None:
            super().run()
            for extension in self.extensions:
                library = Path(self.get_ext_fullpath(extension.name))
                needs = (
                    ["avx2", "fma"] if "-march=x86-64-v3" in sources.cxx_flags(False, cuda) else []
                )
                record = {
                    "torch": torch.__version__,
                    "abi": sysconfig.get_config_var("SOABI"),
                    "sources": sources.digest(HERE / "csrc"),
                    "size": library.stat().st_size,
                    "sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
                    "needs": needs,
                    "targets": targets,
                }
                (library.parent / "_C.json").write_text(json.dumps(record, indent=1) + "\n")

    make = cpp_extension.CUDAExtension if cuda else cpp_extension.CppExtension
    extension = make(
        name="gentool._C",
        # Relative paths: setuptools refuses absolute ones.
        sources=[str(path.relative_to(HERE)) for path in sources.sources(HERE / "csrc", cuda)],
        extra_compile_args={
            "cxx": sources.cxx_flags(native=False, cuda=cuda, targets=targets),
            "nvcc": sources.nvcc_flags(),
        },
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": BuildWithRecord}}


arguments: dict[str, Any] = {"cmdclass": {}}
if os.environ.get("GENTOOL_BUILD_KERNELS") == "1":
    arguments = ahead_of_time()
arguments["cmdclass"]["build_py"] = BuildWithSources
setup(**arguments)
