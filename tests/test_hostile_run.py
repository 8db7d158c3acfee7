"""A run folder from somebody else, or changed by hand, does no harm and ends in a sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result
from PIL import Image
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
from gentool.train.state import _entry, load_newest, stored
from gentool.weights import read_tensors, save_tensors

Cli = Callable[..., Result]
SMALL: dict[str, Any] = {"data": "glyphs:128", "hidden": (8,), "latent_dim": 2, "threads": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    cache = str(folder / "cache")
    job = from_options("vae", {**SMALL, "epochs": 2, "batch_size": 32, "cache": cache})
    here = Path.cwd()
    os.chdir(folder)
    try:
        return session.start(job, folder / "run", lambda moment: None).path
    finally:
        os.chdir(here)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, in the working directory of `cli`."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user, which must be afterwards what it was before."""
    folder = tmp_path / "home"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("mine")
    yield folder
    left = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
    assert left == ["file", "inner"] and (folder / "file").read_text() == "mine"


def newest(run: Path) -> Path:
    with Folder(run / "state") as state:
        return run / "state" / stored(state)[-1]


def reseal(checkpoint: Path) -> None:
    """A manifest that fits whatever the files are now."""
    with Folder(checkpoint) as folder:
        names = [n for n in folder.names() if n != "manifest.json"]
        entries = {name: _entry(folder, name, 2**30) for name in names}
    write_json(checkpoint / "manifest.json", entries)


def refused(result: Result, *words: str) -> None:
    assert result.code == 2 and "Traceback" not in result.err, result.err
    assert all(word in result.err for word in words), result.err


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", "samples", "README.md", "state"])
def test_resume_writes_through_no_link(cli: Cli, run: Path, outside: Path, name: str) -> None:
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "inner" if name in ("samples", "state") else outside / "file")
    refused(cli("resume", "run", "--epochs", "3"), "symbolic link")


def test_resume_writes_to_no_second_name(cli: Cli, run: Path, outside: Path) -> None:
    (run / "metrics.jsonl").unlink()
    os.link(outside / "file", run / "metrics.jsonl")
    refused(cli("resume", "run", "--epochs", "3"), "hard link")


@pytest.mark.parametrize(
    ("verb", "name"), [("sample", "sampled"), ("evaluate", "results")], ids=["sample", "evaluate"]
)
def test_what_is_made_of_a_run_stays_in_it(
    cli: Cli, run: Path, outside: Path, verb: str, name: str
) -> None:
    (run / name).symlink_to(outside / "inner")
    options = ("--n", "10") if verb == "evaluate" else ()
    refused(cli(verb, "run", *options), "symbolic link")


@pytest.mark.parametrize("kind", ["pipe", "sparse"])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "manifest.json", "weights"])
def test_a_pipe_or_an_endless_file_is_refused_at_once(
    cli: Cli, run: Path, name: str, kind: str
) -> None:
    last = newest(run)
    for other in (run / "state").iterdir():  # no other checkpoint to fall back to
        if other != last:
            shutil.rmtree(other)
    places = {"manifest.json": last / name, "weights": last / "weights.safetensors"}
    path = places.get(name, run / name)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(2**42)
    result = cli("resume", "run", "--epochs", "3")
    if (name, kind) == ("metrics.jsonl", "sparse"):  # cut to what the checkpoint knows of
        assert result.code == 0 and "rows are missing" in result.err
    else:
        words = "no regular file" if kind == "pipe" else "the most that are read"
        refused(result, words, *(["intact checkpoint"] if name in places else []))
    assert "Traceback" not in cli("runs", "show", str(run)).err


def test_latest_may_be_no_pipe(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs" / ".latest")
    refused(cli("resume"), "there is no run here yet")


Damage = Callable[[dict[str, torch.Tensor]], None]


def change(key: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        tensors[key] = value(tensors[key]).contiguous()

    return damage


MOMENT = "player0/optimizer/0/exp_avg"
OPTIM: dict[str, Damage] = {
    "short moment": change(MOMENT, lambda t: t.flatten()[:3].clone()),
    "long moment": change(MOMENT, lambda t: torch.zeros(10**6)),
    "other shape": change(MOMENT, lambda t: t.mT.clone()),
    "other type": change(MOMENT, lambda t: t.half()),
    "counter of many": change("player0/optimizer/0/step", lambda t: torch.ones(5)),
    "counter below 0": change("player0/optimizer/0/step", lambda t: -torch.ones(())),
    "counter NaN": change("player0/optimizer/0/step", lambda t: torch.tensor(torch.nan)),
    "short generator": change("rng/cpu/0", lambda t: t[:100].clone()),
    "wrong generator": change("rng/cpu/0", lambda t: torch.full_like(t, 255)),
    "short totals": change("player0/totals", lambda t: t[:2].clone()),
    "totals NaN": change("player0/totals", lambda t: torch.full_like(t, torch.nan)),
    "no moment": lambda t: t.__delitem__(MOMENT),
    "no totals": lambda t: t.__delitem__("player0/totals"),
    "parameter 999": lambda t: t.update({"player0/optimizer/999/step": torch.zeros(())}),
    "player 9": lambda t: t.update({"player9/totals": torch.zeros(4)}),
    "unknown": lambda t: t.update({"x": torch.zeros(4)}),
}


@pytest.mark.parametrize("damage", OPTIM.values(), ids=OPTIM.keys())
def test_state_of_another_shape_reaches_no_kernel(cli: Cli, run: Path, damage: Damage) -> None:
    """Tensors of an optimizer whose manifest fits; a wrong length once wrote past memory's end."""
    file = newest(run) / "optim.safetensors"
    tensors = read_tensors(file)
    damage(tensors)
    save_tensors(file, tensors)
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "does not fit its run", "train again")


@pytest.mark.parametrize("group", ["weights", "average"])
@pytest.mark.parametrize("kind", ["shape", "type", "nan", "missing", "more"])
def test_weights_are_held_to_the_model(tmp_path: Path, group: str, kind: str) -> None:
    made = trainer(tmp_path, TrainSettings(steps=3, ema=0.5, sample_every=0), ToyConfig())
    made.fit()
    path = newest(run_of(made).path)
    tensors = read_tensors(path / f"{group}.safetensors")
    bias = tensors.pop("mover.bias")
    changed = {"shape": torch.zeros(7), "type": bias.double(), "nan": bias / 0 * 0}
    tensors |= {"mover.bias": changed[kind]} if kind in changed else {}
    tensors |= {"mover.bias": bias, "other": bias.clone()} if kind == "more" else {}
    save_tensors(path / f"{group}.safetensors", tensors)
    reseal(path)
    again = trainer(tmp_path, TrainSettings(steps=6, ema=0.5, sample_every=0), ToyConfig())
    before = {k: v.clone() for k, v in again.model.state_dict().items()}
    with pytest.raises(UserError, match=r"mover\.bias|other"):
        again.restore(load_newest(path.parent))
    assert all(torch.equal(v, before[k]) for k, v in again.model.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": "x"},
        {"step": 10**40},
        {"best": float("nan")},
        {"best": [1]},
        {"is_best": 3},
        {"metrics_bytes": -5},
        {"players": []},
        {"players": [{"count": 1}]},
        {"players": None},
    ],
    ids=str,
)
def test_counters_are_held_to_their_range(cli: Cli, run: Path, change: dict[str, Any]) -> None:
    file = newest(run) / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "does not fit its run")


def test_sums_of_other_scalars_are_refused(cli: Cli, run: Path) -> None:
    file = newest(run) / "state.json"
    values = json.loads(file.read_text())
    names = values["players"][0]["names"]
    values["players"][0]["names"] = [f"{name}_" for name in names]
    file.write_text(json.dumps(values))
    reseal(newest(run))
    refused(cli("resume", "run", "--epochs", "3"), "other scalars")


def test_every_optimizer_of_torch_has_its_entries_checked(tmp_path: Path) -> None:
    """What one step on zeros leaves is what a checkpoint of a training holds, whatever the kind."""
    from gentool.model import OptimizerSpec, Player

    for kind in ("Adam", "AdamW", "SGD", "RMSprop", "NAdam", "RAdam", "Adagrad", "Rprop", "ASGD"):
        arguments = {"momentum": 0.9} if kind == "SGD" else {}
        made = trainer(tmp_path / kind, TrainSettings(steps=4, sample_every=0), ToyConfig())
        again = trainer(tmp_path / kind, TrainSettings(steps=8, sample_every=0), ToyConfig())
        for one in (made, again):
            for state in one.players:
                own = OptimizerSpec(kind, 1e-3, arguments)
                state.player = Player(
                    state.player.name, state.player.module, state.player.objective, own
                )
                from gentool.train.optimizers import make_optimizer

                state.optimizer = make_optimizer(own, state.parameters, torch.device("cpu"))
        made.fit()
        again.restore(load_newest(run_of(made).state))
        again.fit()
        assert again.step == 8


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


STRANGE = [
    '{"step": 1, "epoch": 1, "split": "train", "$x^{$": 3.0, "loss": 1e308}',
    '{"step": 2, "epoch": 1, "split": "train", "loss": ' + "9" * 400 + "}",
    '{"step": 3, "split": ["train"], "loss": NaN, "x": {"y": 1}}',
    '{"step": ' + "9" * 400 + "}",
    '{"step": 4, "epoch": "x", "split": "$\\\\frac{$", "' + "n" * 10_000 + '": 1}',
    "[" * 100_000,
]


def test_files_edited_by_hand_end_in_no_traceback(cli: Cli, run: Path) -> None:
    """Names that look like formulas, numbers that no float holds, huge pictures, missing facts."""
    config = json.loads((run / "config.json").read_text())
    del config["environment"]
    write_json(run / "config.json", config)
    newer = newest(run) / "state.json"
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n".join(STRANGE) + "\n")
    values = json.loads(newer.read_text())
    values["metrics_bytes"] = (run / "metrics.jsonl").stat().st_size
    newer.write_text(json.dumps(values))
    reseal(newest(run))
    Image.new("1", (30_000, 30_000)).save(run / "samples" / "000001.png")
    (run / "samples" / "000002.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 64)
    result = cli("resume", "run", "--epochs", "3")
    assert result.code == 0, result.err
    assert "trained with gentool ?" in (run / "README.md").read_text()
    assert (run / "curves.png").stat().st_size > 0 and (run / "samples.gif").stat().st_size > 0
    (run.parent / "runs").mkdir(exist_ok=True)
    run.rename(run.parent / "runs" / "strange")
    assert cli("runs", "list").code == 0 and cli("runs", "show", "strange").code == 0


def test_one_strange_run_hides_no_other(cli: Cli, run: Path, tmp_path: Path) -> None:
    for name, content in (("a", '{"model": ' + "9" * 5000 + "}"), ("b", "[" * 10**5), ("c", "{}")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text(content)
    shutil.copytree(run, tmp_path / "runs" / "good")
    result = cli("runs", "list")
    assert result.code == 0 and "good" in result.out and "vae" in result.out


def test_a_missing_momentum_starts_from_zero(tmp_path: Path) -> None:
    """Fused SGD fails where some parameters have a buffer and others none."""
    made = trainer(tmp_path, TrainSettings(steps=20, batch_size=20))
    made.take_step()
    checkpoint = made.game.snapshot()
    optim = dict(checkpoint.groups["optim"])
    missing = next(key for key in optim if key.endswith("momentum_buffer"))
    del optim[missing]
    groups = {**checkpoint.groups, "optim": optim}
    made.game.restore(dataclasses.replace(checkpoint, groups=groups))
    made.take_step()
    assert missing in made.game.snapshot().groups["optim"]
