"""Weights & Biases as a gentool plugin: ``gentool train MODEL --log wandb``. No torch here.

Without an account, or with WANDB_MODE=offline, everything goes into ``RUN/wandb``, from where
``wandb sync`` can send it later.
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
    # A folder that is called wandb is found as well, but is no package.
    found = find_spec("wandb")
    if found is None or found.origin is None:
        raise UserError("--log wandb needs it; run: pip install 'gentool[wandb]'")


@hookimpl
def gentool_run_started(run: Run, config: Mapping[str, Any]) -> None:
    from gentool_wandb import writer

    writer.start(run, config)


@hookimpl
def gentool_run_logged(run: Run, row: Mapping[str, Any]) -> None:
    from gentool_wandb import writer

    writer.log(run, row)


@hookimpl
def gentool_run_epoch_ended(run: Run, epoch: int, step: int) -> None:
    from gentool_wandb import writer

    writer.show_samples(run, step)


@hookimpl
def gentool_run_finished(run: Run) -> None:
    from gentool_wandb import writer

    writer.end(run, 0)


@hookimpl
def gentool_run_failed(run: Run, error: BaseException) -> None:
    from gentool_wandb import writer

    writer.end(run, 1)
