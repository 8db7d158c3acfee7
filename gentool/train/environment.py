"""What bit-exact repetition depends on beside the options: recorded, and compared on resume."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gentool.console import say
from gentool.errors import printable
from gentool.matmul import matmul_library
from gentool.train.distributed import world_size
from gentool.train.job import Job
from gentool.version import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """The facts of this process, for the run's config.json."""
    from gentool import ops

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "gentool": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
        "kernels": "native" if ops.native.serves(device.type) else "reference",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "matmul": matmul_library(),
        "world_size": world_size(),
    }


def compare(saved: Mapping[str, Any], job: Job, now: Mapping[str, Any]) -> None:
    """Warn of whatever differs that bit-exact repetition depends on.

    Args:
        saved: the run's config.json.
        now: the environment of this process.
    """
    then = saved.get("environment")
    then = then if isinstance(then, dict) else {}
    # Of a run from before the one was a choice, and before the other drew anything.
    then = {"matmul": "default", "numpy": now.get("numpy"), **then}
    pairs = [(key, now[key], then.get(key)) for key in sorted(now)]
    plugin = saved.get("plugin")
    version = plugin.get("version") if isinstance(plugin, dict) else None
    pairs.append((f"the plugin {job.plugin.full_name}", job.plugin.version, version))
    for what, here, there in pairs:
        if here != there:
            known = "did not say" if there is None else f"had {printable(str(there), 80)}"
            say(f"warning: {what} is {here}, the run {known}; it continues, but not bit for bit")
