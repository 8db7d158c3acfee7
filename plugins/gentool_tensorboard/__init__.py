"""TensorBoard as a gentool plugin: ``gentool train MODEL --log tensorboard``. No torch here.

Scalars are written as ``split/name`` over steps, and the newest sample picture after each epoch,
into ``RUN/tensorboard``. Look at them with ``tensorboard --logdir runs``.
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
    if find_spec("tensorboard") is None:
        raise UserError("--log tensorboard needs it; run: pip install 'gentool[tensorboard]'")


@hookimpl
def gentool_run_started(run: Run, config: Mapping[str, Any]) -> None:
    from gentool_tensorboard import writer

    writer.start(run, config)


@hookimpl
def gentool_run_logged(run: Run, row: Mapping[str, Any]) -> None:
    from gentool_tensorboard import writer

    writer.log(run, row)


@hookimpl
def gentool_run_epoch_ended(run: Run, epoch: int, step: int) -> None:
    from gentool_tensorboard import writer

    writer.show_samples(run, step)


@hookimpl
def gentool_run_finished(run: Run) -> None:
    from gentool_tensorboard import writer

    writer.end(run, "finished")


@hookimpl
def gentool_run_failed(run: Run, error: BaseException) -> None:
    from gentool_tensorboard import writer

    writer.end(run, f"{type(error).__name__}: {error}")
