"""The one folder for what can be made again: decoded data, downloads, compiled libraries."""

from __future__ import annotations

import os
from pathlib import Path

from gentool.files import expanded


def cache_folder(asked: str | None = None) -> Path:
    """`asked`, or $GENTOOL_CACHE, or ``gentool`` in $XDG_CACHE_HOME or ~/.cache.

    It need not exist yet. The XDG rule on every system, which keeps old caches in their place;
    `platformdirs` would move those on macOS and Windows, and costs a dependency for four lines.
    Raises UserError for a ``~name`` that is nobody's.
    """
    if named := asked or os.environ.get("GENTOOL_CACHE"):
        return expanded(named)
    return own_folder()


def own_folder() -> Path:
    """The user's own, whatever $GENTOOL_CACHE says."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG rule: a relative path there is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else _home() / ".cache"
    return root / "gentool"


def _home() -> Path:
    """The user's home; one that is not there for a user of whom the system knows nothing.

    Containers run by a bare number are so: they do without a cache.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")
