"""Runs in Weights & Biases: one for each run of gentool, however often it is resumed."""

from __future__ import annotations

import json
import netrc
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb

from gentool.errors import UserError, described
from gentool.runs import Run

NOTE = "wandb.json"
"""In the run's folder: the id of its run in W&B."""

PROJECT = "gentool"

_runs: dict[Path, Any] = {}


def start(run: Run, config: Mapping[str, Any]) -> None:
    """Open the run; a resumed one has the id it had, so that ``wandb sync`` makes one of its parts.

    Raises:
        UserError: where W&B does not answer.
    """
    id = _noted(run)
    if id is None:
        id = secrets.token_hex(4)
        with run.folder() as folder:
            folder.write_json(NOTE, {"id": id})
    shown = {k: v for p in ("config", "settings", "data_options") for k, v in config[p].items()}
    # Only what training logs: no terminal, no code, no measures of the machine.
    quiet = wandb.Settings(
        silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True
    )
    try:
        opened = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=id,
            name=run.path.resolve().name,
            dir=str(run.path.resolve()),
            config={"model": config.get("model"), **shown},
            resume="allow",
            mode=_mode(),
            settings=quiet,
        )
    except Exception as error:  # of many kinds; none may pass as a fault of gentool
        raise UserError(
            f"--log wandb cannot begin ({described(error, 200)}); WANDB_MODE=offline needs no host"
        ) from error
    # Rows carry their own step: W&B's counter would refuse those that a resumed run repeats.
    opened.define_metric("step")
    opened.define_metric("*", step_metric="step")
    _runs[run.path] = opened


def _mode() -> Literal["online", "offline", "disabled", "shared"] | None:
    """What WANDB_MODE says; else online for who is logged in, and offline for anybody else."""
    if os.environ.get("WANDB_MODE"):
        return None
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    try:
        logged_in = netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        logged_in = False
    return "online" if logged_in or os.environ.get("WANDB_API_KEY") else "offline"


def _noted(run: Run) -> str | None:
    try:
        with run.folder() as folder:
            id = json.loads(folder.read(NOTE, 2**16))["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return id if isinstance(id, str) and re.fullmatch(r"[0-9a-f]{8}", id) else None


def log(run: Run, row: Mapping[str, Any]) -> None:
    """Write a row's numbers as ``split/name``."""
    numbers = {
        f"{row['split']}/{name}": value
        for name, value in row.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in ("epoch", "step")
    }
    if numbers:
        _runs[run.path].log({**numbers, "epoch": row["epoch"], "step": row["step"]})


def show_samples(run: Run, step: int) -> None:
    """Keep the picture that the epoch left, where it left one."""
    picture = run.samples / f"{step:06d}.png"
    if picture.exists():
        _runs[run.path].log({"samples": wandb.Image(str(picture)), "step": step})


def end(run: Run, code: int) -> None:
    """Keep the model, and close the run with an exit code."""
    if (opened := _runs.pop(run.path, None)) is None:
        return
    for file in (run.model, run.best):
        if file.is_file() and not file.is_symlink():
            # A copy: W&B's own way is a link, and it says so on the terminal.
            shutil.copyfile(file, Path(opened.dir) / file.name)
    opened.finish(exit_code=code)
