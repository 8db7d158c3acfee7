"""Trying a package's plugin in a process of its own, before it is imported here.

Python cannot take back an import that exits, crashes or never ends. Verbs that list what all
plugins bring ask here first, so one such package takes nothing but itself away. The toolkit's own
plugins are not tried, and a verb that names one model imports that one alone, at once.
"""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any

from gentool import plugins, subprocesses
from gentool.plugins import Plugin

PATIENCE = 20.0
"""Seconds after which an import counts as never ending."""

MARK = "gentool-survived"


def problems(found: Iterable[Plugin]) -> dict[str, str]:
    """Why a plugin must not be imported, by its full name; all are tried at once."""
    deadline = time.monotonic() + PATIENCE
    started = [(plugin, _start(plugin)) for plugin in found if plugin.distribution != plugins.OWN]
    result = {}
    for plugin, child in started:
        try:
            output, _ = child.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            result[plugin.full_name] = f"importing it does not end within {PATIENCE:.0f} s"
            continue
        if MARK not in output:
            result[plugin.full_name] = f"importing it ends Python with status {child.returncode}"
    return result


def _start(plugin: Plugin) -> subprocess.Popen[str]:
    return subprocess.Popen(
        subprocesses.python("-m", "gentool.quarantine", plugin.entry_point.value),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=subprocesses.environment(GENTOOL_TRACE="0"),
    )


def attempt(target: str) -> None:
    """Import a plugin and call the hooks that say what it brings; what they raise does not matter.

    Whoever imports it afterwards sees the same, and explains it.
    """
    module = EntryPoint("", target, "").load()
    for name in dir(module):
        hook: Any = getattr(module, name, None)
        if not hasattr(hook, "gentool_impl"):
            continue
        wanted = list(inspect.signature(hook).parameters)
        if wanted in ([], ["register"]):
            hook(*([lambda *_: None] if wanted else []))


def main() -> None:
    """``python -m gentool.quarantine MODULE`` says whether it is still there afterwards."""
    with contextlib.suppress(BaseException):  # an exit too: it can be caught here as there
        attempt(sys.argv[1])
    print(f"\n{MARK}", flush=True)


if __name__ == "__main__":
    main()
