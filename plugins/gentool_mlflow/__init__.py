"""MLflow as a gentool plugin: ``gentool train MODEL --log mlflow``. No torch, no MLflow here.

Parameters, metrics as ``split/name`` over steps, sample pictures, and at the end the model and the
curves as artifacts. They go to the server that MLFLOW_TRACKING_URI names, or else into
``runs/mlflow.db``: look with ``mlflow ui --backend-store-uri sqlite:///runs/mlflow.db``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gentool.errors import UserError
from gentool.hookspecs import hookimpl

if TYPE_CHECKING:
    from gentool.runs import Run


@hookimpl
def gentool_logger_ready() -> None:
    if find_spec("mlflow") is None:
        raise UserError("--log mlflow needs it; run: pip install 'gentool[mlflow]'")


@hookimpl
def gentool_run_started(run: Run, config: Mapping[str, Any]) -> None:
    from gentool_mlflow import writer

    writer.start(run, config)


@hookimpl
def gentool_run_logged(run: Run, row: Mapping[str, Any]) -> None:
    from gentool_mlflow import writer

    writer.log(run, row)


@hookimpl
def gentool_run_epoch_ended(run: Run, epoch: int, step: int) -> None:
    from gentool_mlflow import writer

    writer.show_samples(run, step)


@hookimpl
def gentool_run_finished(run: Run) -> None:
    from gentool_mlflow import writer

    writer.end(run, "FINISHED")


@hookimpl
def gentool_run_failed(run: Run, error: BaseException) -> None:
    from gentool.train.stopping import Stopped
    from gentool_mlflow import writer

    writer.end(run, "KILLED" if isinstance(error, Stopped) else "FAILED", str(error))
