"""A run is a directory that anyone can read.

runs/vae-mnist-001/
    config.json         everything that was asked for, and where it ran
    recipe.toml         the same options for `gentool train --config`, and the command
    model.safetensors   the weights; alone enough to sample
    best.safetensors    the same at its best, by one scalar
    metrics.jsonl       one JSON object a line
    samples/000469.png  fixed-noise samples by step
    samples.gif         the same as a film
    curves.png          the metrics as curves
    README.md           the model card
    history/000469.safetensors  the weights by step, with --keep-history
    state/step-000469/  checkpoints for `gentool resume`
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gentool import checkpoints, index
from gentool.errors import UserError, nearest, printable
from gentool.files import is_dir, is_file, read_regular, user_errors, write_bytes
from gentool.folder import Folder
from gentool.rows import LONGEST_NAME as LONGEST_NAME
from gentool.rows import row_of as row_of

ROOT = Path("runs")
LATEST = ROOT / ".latest"
LONGEST_PATH = 8192
"""Bytes."""

MOST_CONFIG, MOST_METRICS = 2**24, 2**30
"""Bytes of config.json and metrics.jsonl that are read at most."""

LONGEST_ROW, MOST_ROWS = 2**20, 200_000
"""Bytes of a row of metrics.jsonl, and rows that are kept."""

LONGEST_TAIL = 2**17
"""Bytes at the end of metrics.jsonl that say how a run stands."""


@dataclass(frozen=True)
class Run:
    """Where the parts of a run lie."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    def pictures(self) -> list[Path]:
        """The sample pictures by step; names may outgrow their zeros."""
        return sorted(self.samples.glob("*.png"), key=lambda p: (len(p.name), p.name))

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def film(self) -> Path:
        return self.path / "samples.gif"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    @property
    def profile(self) -> Path:
        return self.path / "profile.json"

    @property
    def state(self) -> Path:
        return self.path / "state"

    def is_trained(self) -> bool:
        """Whether it was trained here, rather than put together to be given away.

        A folder for a model hub has a config.json and a model too, but nothing of a training.
        """
        return is_file(self.config) and (is_file(self.metrics) or is_dir(self.state))

    def folder(self) -> Folder:
        """The run's folder, held open; raises UserError where there is none."""
        try:
            return Folder(self.path)
        except OSError as error:
            shown, reason = printable(str(self.path)), error.strerror or str(error)
            raise UserError(f"the run {shown} cannot be opened: {reason}") from error

    def inner(self, name: str) -> Path:
        """A folder of the run to write to, made where there is none; raises UserError.

        Never a link, through which writing would lead out of the run.
        """
        with self.open_inner(name) as folder:
            return folder.path

    def open_inner(self, name: str) -> Folder:
        """The same, held open: what is written through it stays in it whatever happens."""
        with self.folder() as folder, user_errors("the run's folder", self.path / name):
            return folder.folder(name, make=True)

    def read_config(self) -> dict[str, Any]:
        """The run's config.json; raises UserError where it cannot be read."""
        with self.folder() as folder:
            return read_config(folder)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; raises UserError where it cannot be read.

        What is no row is left out, and so is what is no scalar: lines torn by a crash or changed by
        hand. Of a very long file every second row, every fourth, and so on.
        """
        with self.folder() as folder:
            return read_metrics(folder)


def read_config(folder: Folder) -> dict[str, Any]:
    """config.json of a run's open folder; see `Run.read_config`."""
    shown = printable(str(folder.path / "config.json"))
    try:
        value = json.loads(folder.read("config.json", MOST_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        reason = printable(getattr(error, "strerror", None) or str(error), 160)
        raise UserError(f"{shown} cannot be read ({reason}); is this a run directory?") from error
    if not isinstance(value, dict):
        raise UserError(f"{shown} does not hold a JSON object")
    return value


def read_metrics(folder: Folder) -> list[dict[str, Any]]:
    """The same of a run's open folder."""
    name = "metrics.jsonl"
    if not folder.has(name):
        return []
    rows: list[dict[str, Any]] = []
    every, count = 1, 0
    try:
        with folder.open(name, MOST_METRICS) as file:
            while line := file.readline(LONGEST_ROW):
                row = row_of(line)
                if row is None:
                    continue
                count += 1
                if count % every == 0:
                    rows.append(row)
                if len(rows) > MOST_ROWS:
                    rows, every = rows[1::2], 2 * every
    except OSError as error:
        shown = printable(str(folder.path / name))
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    return rows


def last_rows(folder: Folder) -> list[dict[str, Any]]:
    """The last rows of metrics.jsonl of a run's open folder, without reading all of them.

    Where it cannot be read, or holds none at its end, there are none.
    """
    try:
        with folder.open("metrics.jsonl", MOST_METRICS) as file:
            start = max(0, os.fstat(file.fileno()).st_size - LONGEST_TAIL)
            file.seek(start)
            lines = file.read(LONGEST_TAIL).split(b"\n")[1 if start else 0 :]
    except OSError:
        return []
    return [row for line in lines if (row := row_of(line)) is not None]


def create(out: Path | None, model: str, data: str) -> Run:
    """Make the directory of a new run: `out`, or the next free ``runs/<model>-<data>-NNN``."""
    check_name(out)
    if out is None:
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{model}-{data}")
        for number in itertools.count(1):
            path = ROOT / f"{stem}-{number:03d}"
            try:
                with user_errors("the run", path):
                    path.mkdir(parents=True)
                break
            except UserError as error:
                if not isinstance(error.__cause__, FileExistsError):
                    raise
    else:
        path = out
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(
                f"{printable(str(path))} already exists and is not empty; choose another --out, "
                "or continue that run with `gentool resume`"
            )
        with user_errors("the run", path):
            path.mkdir(parents=True, exist_ok=True)
            (path / "samples").mkdir(exist_ok=True)
    # The pointer is a convenience: where it cannot be written, training goes on.
    with contextlib.suppress(OSError):
        write_bytes(LATEST, os.fsencode(path.resolve()) + b"\n")
    index.remember(path)
    return Run(path)


def check_name(out: Path | None) -> None:
    """Refuse a name that cannot be written down; raises UserError."""
    try:
        str(out).encode("utf-8")
        if out is not None:
            out.exists()
    except (UnicodeEncodeError, OSError, ValueError) as error:
        shown = printable(str(out).encode("utf-8", "replace").decode(), 80)
        raise UserError(f"--out {shown} cannot be a folder's name; choose another") from error


def latest() -> Run:
    """The run that was started last from this directory; raises UserError where there is none."""
    try:
        path = Path(os.fsdecode(read_regular(LATEST, LONGEST_PATH).rstrip(b"\n")))
    except OSError:
        raise UserError(
            "there is no run here yet; train one with `gentool train MODEL`, or name a run"
        ) from None
    if not is_dir(path):
        raise UserError(f"the latest run, {printable(str(path))}, is gone; name another run")
    with contextlib.suppress(ValueError):  # shorter to read where it is below us
        path = path.relative_to(Path.cwd())
    return Run(path)


def find(name: str | None) -> Run:
    """A run by its path, by its name below ./runs or anywhere, or the latest.

    Raises UserError where there is none, and where several have the name: none is guessed.
    """
    if name is None:
        return latest()
    places: list[Path] = []
    with contextlib.suppress(OSError, ValueError):  # a name that no file system takes
        places = [path for path in (Path(name), ROOT / name) if path.is_dir()]
    found = [path for path in places if is_file(path / "config.json")]
    found = list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]
    if not places and (tail := Path(name).parts):  # A/run too, as tables tell two apart
        found = [path for path in index.known() if path.parts[-len(tail) :] == tail]
    if len(found) > 1:
        listed = ", ".join(printable(str(path)) for path in found[:8])
        raise UserError(f"{len(found)} runs are called {printable(name)}; name one: {listed}")
    if found or places:
        return Run((found or places)[0])
    names = [run.path.name for run in (*every(), *map(Run, index.known()))]
    raise UserError(f"there is no run {printable(name)!r}{nearest(Path(name).name, names)}")


@dataclass(frozen=True)
class Source:
    """What RUN|FILE names: a model file, and the run it belongs to.

    Attributes:
        file: a ``model.safetensors`` or another model file; it exists.
        run: None for a lone file, which knows nothing of its training.
        named_file: the file itself was named, not its run.
        described: the file whose header says what the tensors are; None: `file`. Those of a
            checkpoint have none of their own.
    """

    file: Path
    run: Run | None
    named_file: bool = False
    described: Path | None = None

    @property
    def name(self) -> str:
        """For tables: the run's name, and the file's where that is not the run's own model."""
        if self.run is None:
            here = self.file.resolve()
            shared = here.name == "model.safetensors" and is_file(here.parent / "config.json")
            return here.parent.name if shared else here.stem
        run = self.run.path.resolve().name
        if self.described is not None:
            return f"{run}/{self.file.parent.name}"
        return run if self.file.name == self.run.model.name else f"{run}/{self.file.stem}"


def locate(source: str | os.PathLike[str] | None = None, step: int | None = None) -> Source:
    """The model that RUN|FILE names; None: the latest run's. The one place where this is decided.

    A name may be anything a person types: one that no file system takes is no run.

    Args:
        source: a run, a model file, or a checkpoint ``RUN/state/step-…``.
        step: the checkpoint of that step instead of the run's newest model.

    Raises:
        UserError: where there is no such run, file or checkpoint, or the run has no model yet.
    """
    if source is not None and (folder := checkpoints.run_of(Path(source))) is not None:
        file = Path(source)
        return _checkpoint(Run(folder), checkpoints.weights_of(file) if is_dir(file) else file)
    if step is not None:
        run = find(None if source is None else os.fspath(source))
        return _checkpoint(run, checkpoints.at_step(run.path, step))
    if source is not None and is_file(file := Path(source)):
        run = Run(file.parent)
        known = file.name in (run.model.name, run.best.name)
        return Source(file, run if known and run.is_trained() else None, True)
    if source is not None and Path(source).suffix == ".safetensors":
        raise UserError(f"there is no file {printable(str(source))}")
    run = find(None if source is None else os.fspath(source))
    if not is_file(run.model):
        raise UserError(
            f"the run {printable(str(run.path))} has no model.safetensors; "
            "name a run, or a model.safetensors"
        )
    return Source(run.model, run if run.is_trained() else None)


def _checkpoint(run: Run, file: Path) -> Source:
    if not is_file(file) or not is_file(run.model):
        lacking = file if not is_file(file) else run.model
        raise UserError(f"there is no file {printable(str(lacking))}")
    return Source(file, run, True, run.model)


def other_weights(found: Source, best: bool) -> Source:
    """The run's best epoch, or its own model again, of a run that was not named by a file.

    Raises:
        UserError: for a lone file, and where the run has no best.safetensors.
    """
    if found.run is None or found.named_file:
        shown = printable(str(found.file))
        raise UserError(f"--best and --raw take a run, and {shown} is a file; name its folder")
    if best and not is_file(found.run.best):
        raise UserError(
            f"the run {printable(str(found.run.path))} has no best.safetensors: nothing ranked its "
            "epochs; --best NAME of `gentool train` names a scalar that does"
        )
    return Source(found.run.best, found.run) if best else found


def every() -> list[Run]:
    """The runs below ./runs, oldest first."""
    if not ROOT.is_dir():
        return []
    found = []
    for path in ROOT.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile
            if is_file(path / "config.json"):
                found.append((path.stat().st_mtime, path.name, path))
    return [Run(path) for *_, path in sorted(found)]


def everywhere() -> list[Run]:
    """The runs below ./runs and those that are remembered, each once, oldest first."""
    places = {os.path.realpath(run.path): run.path for run in every()}
    for path in index.known():
        if is_file(path / "config.json"):
            places.setdefault(os.path.realpath(path), path)
    dated = []
    for path in places.values():
        with contextlib.suppress(OSError):  # gone meanwhile
            dated.append((path.stat().st_mtime, path.name, path))
    return [Run(path) for *_, path in sorted(dated)]
