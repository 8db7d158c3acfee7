"""gentool: train, sample and judge classic deep generative models.

>>> import gentool
>>> images = gentool.load("runs/vae-mnist-001").sample(64)   # float tensor in [0, 1]

Importing this package imports neither torch nor a plugin; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gentool.version import __version__

if TYPE_CHECKING:
    from gentool.loading import LoadedModel, load

__all__ = ["LoadedModel", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("load", "LoadedModel"):
        from gentool import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
