"""One holder of a run's folder at a time; moved, deleted or cut, it loses nothing in silence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from hostile import SMALL, refused
from toy import ToyConfig, run_of, trainer

from gentool.errors import UserError
from gentool.files import write_json
from gentool.folder import Folder
from gentool.runs import Run
from gentool.train import session
from gentool.train.job import from_options
from gentool.train.lock import locked
from gentool.train.log import MetricsLog
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest

Cli = Callable[..., Result]


def test_a_run_that_is_deleted_is_not_made_anew(tmp_path: Path) -> None:
    made = trainer(tmp_path, TrainSettings(epochs=3, batch_size=32), ToyConfig())
    path, original = run_of(made).path, made.take_step

    def delete() -> None:
        original()
        if made.step == 5:
            made.recorder.flush()  # the saver writes meanwhile
            shutil.rmtree(path)

    made.take_step = delete  # type: ignore[method-assign]
    with pytest.raises(UserError, match="was deleted"):
        made.fit()
    assert not path.exists()


def test_a_run_that_is_renamed_is_saved_under_its_new_name(cli: Cli, tmp_path: Path) -> None:
    def rename(moment: Any) -> None:
        if moment.rows and moment.epoch == 1:
            (tmp_path / "old").rename(tmp_path / "new")

    job = from_options("vae", {**SMALL, "epochs": 2})
    with pytest.raises(UserError, match="was moved"):
        session.start(job, tmp_path / "old", rename)
    assert not (tmp_path / "old").exists() and not (tmp_path / "new" / "lock").exists()
    assert load_newest(tmp_path / "new" / "state").values["step"] == 2
    assert (tmp_path / "new" / "README.md").exists()
    assert cli("resume", "new", "--epochs", "3").code == 0


def test_what_differs_from_the_first_training_is_told(cli: Cli, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["environment"]["gentool"] = "0.0.1"
    config["plugin"]["version"] = "0.0.2"
    write_json(run / "config.json", config)
    said = cli("resume", "run", "--epochs", "3").err
    assert "gentool is" in said and "the run had 0.0.1" in said
    assert "the plugin gentool:vae is" in said and "the run had 0.0.2" in said
    config["format_version"] = 99
    write_json(run / "config.json", config)
    refused(cli("resume", "run"), "format version 99", "upgrade gentool")


def test_missing_rows_are_told_and_no_row_is_glued(cli: Cli, run: Path, tmp_path: Path) -> None:
    content = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(content[:-20])
    result = cli("resume", "run", "--epochs", "3")
    assert result.code == 0 and "rows are missing" in result.err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["epoch"] == 3 and len(rows) > content.count(b"\n") - 1


def test_a_cut_in_the_middle_of_a_row_falls_back_to_its_start(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    with Folder(tmp_path) as folder, pytest.warns(UserWarning, match="rows are missing"):
        log = MetricsLog(folder, 28)
    log.write({"step": 3})
    log.close()
    assert [r["step"] for r in Run(tmp_path).read_metrics()] == [1, 2, 3]


def test_the_loser_of_two_trainings_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    """Both found the folder empty; one has the lock, and the other leaves everything as it is."""
    job = from_options("vae", {**SMALL, "epochs": 1})
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run") as folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gentool.runs.create", lambda *_: Run(tmp_path / "run"))
            with pytest.raises(UserError, match="being trained by"):
                session.start(job, tmp_path / "run", lambda moment: None)
        assert folder.names() == ["lock"]
        folder.write("config.json", b"the winner's")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gentool.runs.create", lambda *_: Run(tmp_path / "run"))
        with pytest.raises(UserError, match="began at the same time"):
            session.start(job, tmp_path / "run", lambda moment: None)
    assert (tmp_path / "run" / "config.json").read_bytes() == b"the winner's"


def test_a_lock_that_its_holder_removed_is_no_lock(tmp_path: Path) -> None:
    """The file that was opened before is not the one that a third process locks."""
    import fcntl

    with Folder(tmp_path) as folder:
        old = folder.open_own("lock")
        (tmp_path / "lock").unlink()
        fcntl.flock(old, fcntl.LOCK_EX)
        with locked(tmp_path) as held:
            assert not held.holds("lock", old)
            with pytest.raises(UserError, match="being trained"), locked(tmp_path):
                pass
        os.close(old)
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(
    "note", [b'{"pid": 1' + b"0" * 4000 + b', "host": "x"}', b"[" * 4096, b'{"pid": 1}', b"\xff"]
)
def test_a_lock_with_a_strange_note_is_taken(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "lock").write_bytes(note)
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
