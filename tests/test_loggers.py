"""MLflow and Weights & Biases, the real packages: run, stop, resume is one run with all metrics."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

Cli = Callable[..., Result]

SMALL = ("--data", "glyphs:200", "--hidden", 8, "--device", "cpu")


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return pytest.importorskip("mlflow", reason="mlflow is not installed")


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def stopped_and_resumed(cli: Cli, logger: str) -> Path:
    """A run of three epochs that was stopped after its first."""
    first = cli("train", "vae", *SMALL, "--epochs", 1, "--log", logger, "--out", "runs/a")
    assert first.code == 0, first.err
    config = Path("runs/a/config.json")
    before = json.loads(config.read_text())
    more = cli("resume", "runs/a", "--epochs", 3)
    assert more.code == 0 and "failed and hears nothing" not in more.err, more.err
    assert before["settings"]["epochs"] == 1
    return Path("runs/a")


def check_mlflow(client: Any, run: Path) -> None:
    """The store holds one run with every number of metrics.jsonl, once."""
    (experiment,) = [e for e in client.search_experiments() if e.name == "gentool"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == run.name
    assert found.data.params["hidden"] == "[8]" and found.data.params["model"] == "vae"
    wanted: dict[str, list[tuple[int, float]]] = {}
    for row in rows_of(run):
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                wanted.setdefault(f"{row['split']}/{name}", []).append((row["step"], value))
    assert set(found.data.metrics) == set(wanted) and "test/neg_elbo" in wanted
    for name, points in wanted.items():
        history = client.get_metric_history(found.info.run_id, name)
        assert sorted((m.step, m.value) for m in history) == points, name
    kept = {a.path for a in client.list_artifacts(found.info.run_id)}
    assert {"model.safetensors", "samples", "curves.png"} <= kept
    pictures = [a.path for a in client.list_artifacts(found.info.run_id, "samples")]
    assert len(pictures) == 3


@pytest.mark.slow
def test_mlflow_has_one_run_in_its_file(cli: Cli, mlflow: Any) -> None:
    run = stopped_and_resumed(cli, "mlflow")
    store = f"sqlite:///{Path('runs/mlflow.db').resolve()}"
    check_mlflow(mlflow.MlflowClient(tracking_uri=store), run)
    assert not Path("mlruns").exists() and os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    # A stopped run is told from one that failed.
    more = cli("resume", "runs/a", "--epochs", 9, "--max-time", "0.001")
    assert more.code == 0, more.err
    client = mlflow.MlflowClient(tracking_uri=store)
    id = json.loads((run / "mlflow.json").read_text())["run_id"]
    assert client.get_run(id).info.status == "KILLED"
    assert "max-time" in client.get_run(id).data.tags["gentool.ended"]


@pytest.fixture
def server(tmp_path: Path, mlflow: Any) -> Iterator[str]:
    """MLflow's own server."""
    pytest.importorskip("fastapi", reason="mlflow's server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 240
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except OSError:
                ended = process.poll() is not None or time.monotonic() > deadline
                assert not ended, (tmp_path / "server.log").read_text()[-3000:]
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


@pytest.mark.slow
def test_mlflow_has_one_run_on_its_server(
    cli: Cli, server: str, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    run = stopped_and_resumed(cli, "mlflow")
    check_mlflow(mlflow.MlflowClient(tracking_uri=server), run)
    assert not Path("runs/mlflow.db").exists()


@pytest.mark.slow
def test_an_mlflow_that_does_not_answer_is_one_sentence(
    cli: Cli, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = cli("train", "vae", *SMALL, "--steps", 1, "--log", "mlflow", "--out", "a")
    assert result.code == 2 and "MLFLOW_TRACKING_URI" in result.err, result.err


def records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: a log of LevelDB after seven bytes of W&B's own.

    Blocks of 32 KiB hold pieces: a checksum, a length, and whether it is whole or which part.
    """
    assert content.startswith(b":W&B")
    at, pending = 7, b""
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:  # the rest of a block is padding
            at += 2**15 - at % 2**15
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        assert kind in (1, 2, 3, 4)
        pending += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield pending
            pending = b""


@pytest.mark.slow
def test_wandb_offline_is_read_by_its_own_tools(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "nobody"))
    run = stopped_and_resumed(cli, "wandb")
    id = json.loads((run / "wandb.json").read_text())["id"]
    parts = sorted((run / "wandb").glob(f"offline-run-*-{id}"))
    assert len(parts) == 2  # of one run: `wandb sync` puts them together by the id
    logged: dict[tuple[str, int], float] = {}
    names = set()
    for part in parts:
        for content in records((part / f"run-{id}.wandb").read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            if record.HasField("run"):
                names.add((record.run.run_id, record.run.display_name, record.run.project))
            if record.HasField("history"):
                found = {
                    (i.key or "/".join(i.nested_key)): json.loads(i.value_json)
                    for i in record.history.item
                }
                for name, value in found.items():
                    if "/" in name:
                        logged[name, found["step"]] = value
        assert (part / "files" / "model.safetensors").is_file()
        assert list((part / "files" / "media").rglob("*.png"))
    assert names == {(id, "a", "gentool")}
    listed = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run"],
        cwd=run,
        env=os.environ | {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (listed.stdout + listed.stderr).count(f"run-{id}.wandb") == 2, listed
    for row in rows_of(run):
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                assert logged[f"{row['split']}/{name}", row["step"]] == pytest.approx(value)


@pytest.mark.parametrize("logger", ["mlflow", "wandb"])
def test_a_missing_package_is_told_before_the_run(
    cli: Cli, logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, logger, None)
    result = cli("train", "vae", *SMALL, "--log", logger)
    assert result.code == 2 and f"gentool[{logger}]" in result.err, result.err
    assert not Path("runs").exists()
