"""What a sweep is: a model, options that all runs share, and values that vary. No torch here."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gentool import options, plugins, recipefiles, runs
from gentool.errors import UserError, nearest, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.options import Field
from gentool.train.job import Job, from_options, override
from gentool.train.settings import core_fields, trainable

FILE, FORMAT_VERSION = "sweep.json", 1
MOST_BYTES, MOST_RUNS = 2**24, 10_000
NOT_SHARED = ("cache", "max_time")
"""Options of the process that trains, not of the runs."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its folder's name, and the values that it alone has."""

    name: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file describes it.

    Attributes:
        model: as ``gentool train`` takes it, with its distribution.
        options: by field name, of all runs.
        over: the values of what varies, by field name; the last varies fastest.
    """

    model: str
    options: dict[str, Any]
    over: dict[str, list[Any]]

    def cells(self) -> list[Cell]:
        """Every combination, in order; raises UserError for too many."""
        count = 1
        for values in self.over.values():
            count *= len(values)
        if not 0 < count <= MOST_RUNS:
            raise UserError(f"a sweep has 1 to {MOST_RUNS:,} runs, and this one has {count:,}")
        combinations = itertools.product(*self.over.values())
        cells = [Cell("", dict(zip(self.over, chosen, strict=True))) for chosen in combinations]
        names = [name_of(cell.values) for cell in cells]
        if len({name.lower() for name in names}) < len(names):  # some file systems fold case
            names = [f"{i + 1:03d},{name}" for i, name in enumerate(names)]
        return [Cell(name, cell.values) for name, cell in zip(names, cells, strict=True)]

    def job(self, cell: Cell, **more: Any) -> Job:
        """What a run is to train; raises UserError for options that do not fit."""
        return from_options(self.model, {**override(self.options, cell.values), **more})

    def check(self) -> None:
        """Refuse, before anything is trained, what any of the runs would refuse."""
        for cell in self.cells():
            self.job(cell)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "model": self.model,
            "options": self.options,
            "over": self.over,
        }


def name_of(values: Mapping[str, Any]) -> str:
    """``lr=0.001,latent_dim=16``: a folder's name that needs no quotes."""
    text = ",".join(f"{name}={_shown(value)}" for name, value in values.items())
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", text)[:120].strip(".")


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def planned(
    model: str, values: Mapping[str, Any], file: Path | None, over: Mapping[str, list[Any]]
) -> Sweep:
    """The sweep that was asked for, every run of it checked.

    Args:
        values, file: options by field name, and a TOML file with more, as for ``gentool train``.

    Raises:
        UserError: for options that do not fit, or that are given and vary too.
    """
    plugin = plugins.find(model)
    fields = fields_for(model)
    base = {} if file is None else options.read_toml(recipefiles.locate(file), fields, plugin.name)
    shared = {k: v for k, v in override(base, values).items() if k not in NOT_SHARED}
    for name in over:
        if name in NOT_SHARED:
            raise UserError(f"{name} is no option of a run; it cannot vary")
        if name in values:
            raise UserError(f"{name} is given and is to vary as well; leave one of the two out")
        shared.pop(name, None)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in shared.items()}
    sweep = Sweep(plugin.full_name, plain, dict(over))
    sweep.check()
    return sweep


def fields_for(model: str) -> list[Field]:
    """Every option of ``gentool train MODEL``."""
    spec = trainable(plugins.find(model))
    return [*options.fields_of(spec.config), *core_fields()]


def read_over(texts: Iterable[str], fields: Sequence[Field]) -> dict[str, list[Any]]:
    """``lr=1e-4,2e-4`` and the like, in order; raises UserError.

    Values are separated by commas. Those of an option that takes a list hold commas themselves, and
    are separated by semicolons: ``widths=64,32;128,64``.
    """
    known = {f.name: f for f in fields} | {f.flag[2:]: f for f in fields}
    over: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals:
            raise UserError(
                f"--over {printable(text)!r} has no values; write it as --over lr=1e-4,2e-4"
            )
        field = known.get(name.strip().lstrip("-"))
        if field is None:
            raise UserError(f"--over {printable(name)!r} is no option{nearest(name, known)}")
        if field.name in over:
            raise UserError(f"--over {field.name} is given twice; write its values in one")
        parts = [p.strip() for p in re.split(";" if field.many else ",", rest) if p.strip()]
        values = [options.parse(field, part) for part in parts]
        plain = [list(v) if isinstance(v, tuple) else v for v in values]
        if not plain:
            raise UserError(f"--over {field.name}= has no values")
        if len({json.dumps(v) for v in plain}) < len(plain):
            raise UserError(f"--over {field.name} has a value twice")
        over[field.name] = plain
    return over


def read_seeds(text: str) -> list[int]:
    """``0-2`` or ``0,3,7`` as whole numbers; raises UserError."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        if not match:
            raise UserError(f"--seeds is {printable(text)!r}, but it takes 0-2, or 0,3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + MOST_RUNS:
            raise UserError(f"--seeds {printable(part)} names no seeds, or too many")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {printable(text)} names a seed twice")
    return seeds


def read(folder: Folder) -> Sweep:
    """The sweep of an open folder; raises UserError where its file is none."""
    shown = printable(str(folder.path / FILE))
    try:
        value = json.loads(folder.read(FILE, MOST_BYTES))
        if value["format_version"] != FORMAT_VERSION:
            raise ValueError("it is of another release")
        model, shared, over = value["model"], value["options"], value["over"]
        fits = isinstance(model, str) and isinstance(shared, dict) and isinstance(over, dict)
        if not fits or not all(isinstance(v, list) and v for v in over.values()):
            raise ValueError("model, options or over is something else")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = printable(getattr(error, "strerror", None) or str(error), 160)
        raise UserError(f"{shown} does not describe a sweep ({reason})") from error
    # A folder of somebody else never chooses where this machine keeps what it can make again.
    sweep = Sweep(model, {k: v for k, v in shared.items() if k not in NOT_SHARED}, over)
    sweep.check()
    return sweep


def is_sweep(path: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (path / FILE).is_file()


def make_folder(sweep: Sweep, out: Path | None, kind: str) -> Path:
    """The folder of a sweep: `out`, or the next free ``runs/MODEL-DATA-KIND-NNN``.

    One that holds the same sweep already is gone on with; raises UserError for any other.
    """
    path = out
    if path is None:
        data = sweep.job(sweep.cells()[0]).data_options.data
        name = sweep.model.rpartition(":")[2]
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{name}-{Path(data).name}")[:80]
        numbers = itertools.count(1)
        path = next(p for i in numbers if not (p := runs.ROOT / f"{stem}-{kind}-{i:03d}").exists())
    runs.check_name(path)
    shown = printable(str(path))
    if is_sweep(path):
        with Folder(path) as folder:
            there = read(folder)
        if there.to_json() != json.loads(json.dumps(sweep.to_json())):
            raise UserError(f"{shown} holds another sweep; choose another --out")
        return path
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{shown} already exists and is not empty; choose another --out")
    with user_errors("the sweep", path):
        path.mkdir(parents=True, exist_ok=True)
        with Folder(path) as folder:
            folder.write_json(FILE, sweep.to_json())
    return path


def members(path: Path) -> list[Path]:
    """The runs of a sweep's folder that have begun, in its order; links are left out."""
    with Folder(path) as folder:
        cells = read(folder).cells()
    found = (path / cell.name for cell in cells)
    return [run for run in found if (run / "config.json").is_file() and not run.is_symlink()]
