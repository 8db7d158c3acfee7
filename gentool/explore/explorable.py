"""A loaded model that can also be explored: what `gentool.load` returns.

>>> gentool.load("runs/vae-mnist-001").explore()      # in a notebook: the page, below the cell
"""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gentool.restore import restorable
from gentool.restore.restorable import RestorableModel

if TYPE_CHECKING:
    import torch

    from gentool.explore.server import Explorer


@dataclass(frozen=True)
class ExploredPage:
    """The page of `gentool explore` on a model, served from this process until `stop`.

    A notebook shows it as a frame; anywhere else `url` can be opened in a browser.
    """

    explorer: Explorer = field(repr=False)
    height: int = 900

    @property
    def url(self) -> str:
        """The address, with its token."""
        return self.explorer.url

    def stop(self) -> None:
        """End the server."""
        self.explorer.stop()

    def _repr_html_(self) -> str:
        source = html.escape(self.url, quote=True)
        style = f"width:100%;height:{self.height}px;border:1px solid #d9dde2"
        allowed = "clipboard-write"
        return f'<iframe src="{source}" style="{style}" allow="{allowed}" title="gentool"></iframe>'


@dataclass(frozen=True)
class ExplorableModel(RestorableModel):
    """A trained model, ready to sample, to be played with, to restore and to be explored."""

    def explore(self, height: int = 900) -> ExploredPage:
        """The page of `gentool explore`, served from this process on a free port of this machine.

        Args:
            height: of a notebook's frame, in pixels.
        """
        from gentool.explore.server import Explorer, serve_in_thread
        from gentool.explore.session import open_all

        word = self.source.run.path if self.source.run is not None else self.source.file
        if self.source.named_file:
            word = self.source.file
        explorer = Explorer(open_all([str(word)], self.device))
        serve_in_thread(explorer)
        return ExploredPage(explorer, height)


def load(
    path: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> ExplorableModel:
    """Load a trained model from a run directory or a ``model.safetensors``.

    Args:
        path: a run, a file, or None for the latest run below the working directory.

    Raises:
        UserError: where the file is missing, damaged, not gentool's, or its plugin is not here.
    """
    found = restorable.load(path, device)
    return ExplorableModel(**vars(found))
