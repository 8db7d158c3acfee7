"""Runs in MLflow's store: one for each run of gentool, however often it is resumed."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# MLflow reports its use to its makers unless it is told not to.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from gentool import runs
from gentool.errors import UserError, described
from gentool.runs import Run

NOTE = "mlflow.json"
"""In the run's folder: the id of its run in MLflow."""

EXPERIMENT = "gentool"
MOST_PARAMS, LONGEST_VALUE = 100, 500


@dataclass
class Writer:
    """One run in the store.

    Attributes:
        last: the newest step of each metric that the store has.
        known: whether the store had the run before, so that `last` must be asked for.
    """

    client: MlflowClient
    id: str
    known: bool
    last: dict[str, int] = field(default_factory=dict)

    def newest(self, name: str) -> int:
        if name not in self.last:
            rows = self.client.get_metric_history(self.id, name) if self.known else []
            self.last[name] = max((row.step for row in rows), default=-1)
        return self.last[name]


_writers: dict[Path, Writer] = {}


def start(run: Run, config: Mapping[str, Any]) -> None:
    """Open the run in the store, the old one where there is one.

    Raises:
        UserError: where the store or the server does not answer.
    """
    try:
        client = MlflowClient(tracking_uri=_store())
        id = _noted(run, client)
        known = id is not None
        if id is None:
            created = client.create_run(_experiment(client), run_name=run.path.resolve().name)
            id = str(created.info.run_id)
            with run.folder() as folder:
                folder.write_json(NOTE, {"run_id": id})
            client.log_batch(id, params=_params(config))
        else:
            client.update_run(id, status="RUNNING")
        client.set_tag(id, "gentool.run", str(run.path.resolve()))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"--log mlflow cannot write to {_store()} ({described(error, 160)}); see "
            "MLFLOW_TRACKING_URI"
        ) from error
    _writers[run.path] = Writer(client, id, known)


def _store() -> str:
    """The server or store of MLflow's own variable, or a file below ./runs."""
    if named := os.environ.get("MLFLOW_TRACKING_URI"):
        return named
    runs.ROOT.mkdir(exist_ok=True)
    return f"sqlite:///{(runs.ROOT / 'mlflow.db').resolve()}"


def _experiment(client: MlflowClient) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    if (found := client.get_experiment_by_name(name)) is not None:
        return str(found.experiment_id)
    place = None
    if not os.environ.get("MLFLOW_TRACKING_URI"):  # beside the store, not in the current folder
        place = (runs.ROOT / "mlartifacts").resolve().as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _noted(run: Run, client: MlflowClient) -> str | None:
    """The id that an earlier training of this run noted, where the store still has it."""
    try:
        with run.folder() as folder:
            id = json.loads(folder.read(NOTE, 2**16))["run_id"]
        if not isinstance(id, str) or not re.fullmatch(r"[0-9a-f]{32}", id):
            return None
        client.get_run(id)
    except (OSError, ValueError, KeyError, TypeError, MlflowException):
        return None
    return id


def _params(config: Mapping[str, Any]) -> list[Param]:
    """What was asked for; MLflow lets none of it change later."""
    shown: dict[str, Any] = {"model": config.get("model")}
    for part in ("config", "settings", "data_options"):
        shown |= {k: v for k, v in config.get(part, {}).items() if v is not None}
    pairs = list(shown.items())[:MOST_PARAMS]
    return [Param(_name(k), str(v)[:LONGEST_VALUE]) for k, v in pairs]


def _name(text: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", text)[:200]


def log(run: Run, row: Mapping[str, Any]) -> None:
    """Write a row's numbers as ``split/name``; steps that the store has already are passed over."""
    writer, now = _writers[run.path], int(time.time() * 1000)
    metrics = []
    for name, value in row.items():
        key = _name(f"{row['split']}/{name}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name not in ("epoch", "step") and row["step"] > writer.newest(key):
            metrics.append(Metric(key, float(value), now, row["step"]))
            writer.last[key] = row["step"]
    if metrics:
        writer.client.log_batch(writer.id, metrics=metrics)
    if "warning" in row:
        writer.client.set_tag(writer.id, "gentool.warning", str(row["warning"])[:LONGEST_VALUE])


def show_samples(run: Run, step: int) -> None:
    """Keep the picture that the epoch left, where it left one."""
    picture = run.samples / f"{step:06d}.png"
    if picture.exists():
        writer = _writers[run.path]
        writer.client.log_artifact(writer.id, str(picture), "samples")


def end(run: Run, status: str, reason: str = "") -> None:
    """Keep the model, its curves and its card, and say how the run ended."""
    if (writer := _writers.pop(run.path, None)) is None:
        return
    for file in (run.model, run.best, run.curves, run.film, run.card, run.config):
        if file.is_file() and not file.is_symlink():
            writer.client.log_artifact(writer.id, str(file))
    if reason:
        writer.client.set_tag(writer.id, "gentool.ended", reason[:LONGEST_VALUE])
    writer.client.set_terminated(writer.id, status)
