"""What is said when a training begins: what computes it, and what a person should know before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import torch

from gentool import ops
from gentool.matmul import matmul_library
from gentool.model import Model

GREY = (
    "the pixels are grey, but the likelihood is Bernoulli's, so nll and elbo are no probability "
    "of the images; compare them only with others of the kind"
)


def surroundings(device: torch.device, precision: str) -> str:
    """What computes: ``cpu, native kernels, oneDNN matrices, 2 threads, fp32``."""
    kernels = "compiled kernels" if ops.native.serves(device.type) else "no compiled kernels"
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return f"{name}, {kernels}, {precision}"
    library = matmul_library()
    matrices = "torch's matrix products" if library == "default" else f"{library} matrix products"
    count = torch.get_num_threads()
    threads = f"{count} thread{'s' if count > 1 else ''}"
    return f"cpu, {kernels}, {matrices}, {threads}, {precision}"


def remarks(model: Model, device: torch.device) -> Iterator[str]:
    """What a person should know before hours are spent, a sentence each."""
    if not ops.native.serves(device.type):
        found = ops.native.status()
        if found.reason == "no library has been built":
            if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
                yield f"`{found.remedy}` compiles kernels that make this faster; it takes a minute"
        elif found.path is not None:
            yield f"the compiled kernels have none for {device.type}: `{ops.native.BUILD}`"
        else:
            yield f"there are compiled kernels, but they are not used: {found.reason}"
    if getattr(model, "support", "") == "grey":
        yield GREY
