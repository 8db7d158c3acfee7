"""How gentool starts another Python: with this one's modules, and nothing of the current folder."""

from __future__ import annotations

import os
import sys


def python(*arguments: str) -> list[str]:
    """The command. -P: a file in the current folder must not stand in for a module."""
    return [sys.executable or "python3", "-P", *arguments]


def environment(**changes: str) -> dict[str, str]:
    """The environment: what can be imported here can be imported there."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", **changes}


def forget_current_folder() -> None:
    """Import nothing from the current folder, here and in every Python started from here.

    An empty entry in PYTHONPATH, or ``python -m``, would put it first. Where gentool itself was
    found there, as in a checkout that is not installed, it stays.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    here = os.path.realpath(os.curdir)
    if here == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # noqa: PTH120
        return
    asked = os.environ.get("PYTHONPATH")
    relative = asked is not None and {"", os.curdir} & set(asked.split(os.pathsep))
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    by_module = spec is not None and spec.name == "gentool.__main__" and not sys.flags.safe_path
    sys.path[:] = [
        path
        for place, path in enumerate(sys.path)
        if not (
            path in ("", os.curdir)
            # Python makes the entries absolute before anyone sees them.
            or (relative and os.path.realpath(path) == here)
            or (by_module and place == 0)
        )
    ]
