"""gentool: train, sample and judge classic deep generative models.

>>> import gentool
>>> run = gentool.train("vae", data="glyphs", epochs=1, latent_dim=2)
>>> images = gentool.load(run).sample(64)   # float tensor in [0, 1]

Importing this package imports neither torch nor a plugin; its functions do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gentool.version import __version__

if TYPE_CHECKING:
    from gentool.api import TrainedRun, evaluate, resume, train
    from gentool.errors import UserError
    from gentool.explore.explorable import ExplorableModel, load
    from gentool.latent.playable import PlayableModel
    from gentool.loading import LoadedModel
    from gentool.restore.restorable import RestorableModel
    from gentool.train.progress import TrainProgress

__all__ = [
    "ExplorableModel",
    "LoadedModel",
    "PlayableModel",
    "RestorableModel",
    "TrainProgress",
    "TrainedRun",
    "UserError",
    "__version__",
    "evaluate",
    "load",
    "resume",
    "train",
]

_HOMES = {
    "ExplorableModel": "gentool.explore.explorable",
    "LoadedModel": "gentool.loading",
    "PlayableModel": "gentool.latent.playable",
    "RestorableModel": "gentool.restore.restorable",
    "TrainProgress": "gentool.train.progress",
    "TrainedRun": "gentool.api",
    "UserError": "gentool.errors",
    "evaluate": "gentool.api",
    "load": "gentool.explore.explorable",
    "resume": "gentool.api",
}


def __getattr__(name: str) -> Any:
    if name == "train":
        return import_module("gentool.train")  # a package that can be called
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
