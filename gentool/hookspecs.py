"""The hooks a plugin can implement. This screen is the whole interface.

A package announces a module through an entry point; the module implements hooks::

    # pyproject.toml                      # gentool_flow/__init__.py
    [project.entry-points.gentool]        from gentool.hookspecs import hookimpl
    flow = "gentool_flow"                 from gentool.spec import ModelSpec

                                          @hookimpl
                                          def gentool_model() -> ModelSpec: ...

Models are announced in the group `gentool`, everything else in `gentool.hooks`. A module there is
imported when a verb needs what it may bring, first the one whose entry point is called as what is
asked for; so name the entry point after the source, metric, exporter or logger. Neither kind of
module may import torch: they name functions as strings, ``"package.module:function"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from gentool.spec import (
    DownloadInfo,
    ExporterInfo,
    MetricInfo,
    ModelSpec,
    OperatorInfo,
    PanelInfo,
    SourceInfo,
)

if TYPE_CHECKING:
    from gentool.runs import Run

GROUP = "gentool"
"""The entry-point group of models; the entry point's name is the model's name."""

HOOKS_GROUP = "gentool.hooks"
"""The entry-point group of data sources, metrics, exporters, operators and loggers."""

hookspec = pluggy.HookspecMarker("gentool")
hookimpl = pluggy.HookimplMarker("gentool")


@hookspec
def gentool_model() -> ModelSpec:  # type: ignore[empty-body]
    """Describe one model. Called when the model is asked for; must not import torch."""


@hookspec
def gentool_data_sources(register: Callable[[SourceInfo], None]) -> None:
    """Register sources for ``--data``; called for a name that is not built in, and to list."""


@hookspec
def gentool_downloads(register: Callable[[DownloadInfo], None]) -> None:
    """Register what ``gentool data fetch`` fetches beside data sets."""


@hookspec
def gentool_metrics(register: Callable[[MetricInfo], None]) -> None:
    """Register metrics for ``gentool evaluate``; called for a name that is not built in."""


@hookspec
def gentool_exporters(register: Callable[[ExporterInfo], None]) -> None:
    """Register formats for ``gentool export``."""


@hookspec
def gentool_operators(register: Callable[[OperatorInfo], None]) -> None:
    """Register what ``gentool restore --operator`` can undo; see `gentool.restore.operators`."""


@hookspec
def gentool_logger_ready() -> None:
    """The plugin is named by ``--log``, and nothing is written yet.

    One that cannot work, since a package is missing, say, raises `UserError` here.
    """


@hookspec
def gentool_panels(register: Callable[[PanelInfo], None]) -> None:
    """Register panels for ``gentool explore``: controls, and a function to pictures or numbers."""


@hookspec
def gentool_run_started(run: Run, config: Mapping[str, Any]) -> None:
    """Training begins, or goes on; `config` is the run's config.json.

    This hook and the four below are called on the plugins that ``--log`` names. An error raised
    here ends the run before its first step; one raised later only silences the plugin.
    """


@hookspec
def gentool_run_logged(run: Run, row: Mapping[str, Any]) -> None:
    """A row went to metrics.jsonl: `epoch`, `step`, `split` and its scalars."""


@hookspec
def gentool_run_epoch_ended(run: Run, epoch: int, step: int) -> None:
    """An epoch ended; its rows are logged and its picture, where one was due, is drawn."""


@hookspec
def gentool_run_finished(run: Run) -> None:
    """Training came to its end, and everything is written."""


@hookspec
def gentool_run_failed(run: Run, error: BaseException) -> None:
    """Training ended early: an error, a signal or ``--max-time``."""
