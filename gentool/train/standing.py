"""How a run stands, for whoever looks at it from outside: state, epoch, speed, size, what differs.

No torch here. A run may come from anybody: whatever its files hold, reading it ends in a `Standing`
or a UserError.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass, field
from typing import Any

from gentool import options, plugins
from gentool.data.options import DataOptions
from gentool.errors import UserError
from gentool.folder import Folder
from gentool.runs import Run, last_rows, read_config
from gentool.train.lock import Holder, holder_of
from gentool.train.settings import TrainSettings
from gentool.train.status import Status, read_status

TAGS = "tags.json"
MOST_TAGS, LONGEST_TAG = 100, 100

PARTS = ("config", "settings", "data_options")
"""The tables of config.json that hold what was asked for."""

MOST_FILES = 100_000
"""Files of a run that are counted."""


@dataclass(frozen=True)
class Standing:
    """What is to be said of a run.

    Attributes:
        state: training, stopped, failed or finished; a killed one has stopped.
        holder: the process that trains it.
        total, epochs: None where the run does not say.
        last: the last scalars by split.
        settings: what was asked for, by name; of the model, of training, of the data.
        size: bytes of its files.
        changed: when something of it changed last, seconds since 1970.
    """

    run: Run
    model: str
    data: str
    state: str
    holder: Holder | None
    step: int
    total: int | None
    epoch: int
    epochs: int | None
    examples_per_s: float | None
    reason: str
    last: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    tags: list[str]
    size: int
    changed: float
    config: dict[str, Any] = field(repr=False, default_factory=dict)


def standing(run: Run) -> Standing:
    """Read a run; raises UserError where it is none."""
    with run.folder() as folder:
        config = read_config(folder)
        rows = last_rows(folder)
        holder, status = holder_of(folder), read_status(folder)
        tags = read_tags(folder)
        size, changed = _extent(folder)
    last = {str(row.get("split")): row for row in rows}
    settings: dict[str, Any] = {}
    for part in reversed(PARTS):
        settings |= table(config.get(part))
    status = status or _inferred(last, table(config.get("settings")))
    state = status.state
    if holder is not None:
        state = "training"
    elif state == "training":
        state = "stopped"
    data = table(config.get("data_options")).get("data")
    train = last.get("train", {})
    return Standing(
        run=run,
        model=text(config.get("model")),
        data=text(data),
        state=state,
        holder=holder,
        step=status.step,
        total=status.total or None,
        epoch=status.epoch,
        epochs=status.epochs or None,
        examples_per_s=status.examples_per_s or _number(train.get("examples_per_s")),
        reason=status.reason if state in ("stopped", "failed") else "",
        last=last,
        settings=settings,
        tags=tags,
        size=size,
        changed=changed,
        config=config,
    )


def table(value: Any) -> dict[str, Any]:
    """What should be a table; whatever else a file holds counts as empty."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """What should be a short text."""
    return value[:200] if isinstance(value, str) else "?"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 2**53 else None


def _inferred(last: dict[str, dict[str, Any]], settings: dict[str, Any]) -> Status:
    """The status of a run from before there was a file for it."""
    ended = [row for split, row in last.items() if split in ("train", "test", "samples")]
    step = max((row["step"] for row in ended), default=0)
    epoch = max((row["epoch"] for row in ended), default=0)
    steps, epochs = (settings.get(k) for k in ("steps", "epochs"))
    if isinstance(steps, int):
        done = step >= steps
    else:  # only the last row of an epoch has a speed
        whole = "examples_per_s" in last.get("train", {})
        done = isinstance(epochs, int) and epoch >= epochs and whole
    known = epochs if isinstance(epochs, int) and 0 < epochs < 2**53 else 0
    return Status("finished" if done else "stopped", step, 0, epoch, known)


def read_tags(folder: Folder) -> list[str]:
    """The tags in a run's open folder."""
    try:
        value = json.loads(folder.read(TAGS, 2**16))
    except (OSError, ValueError, RecursionError):
        return []
    found = value if isinstance(value, list) else []
    return [t for t in found[:MOST_TAGS] if isinstance(t, str) and 0 < len(t) <= LONGEST_TAG]


def _extent(folder: Folder) -> tuple[int, float]:
    """Bytes of a run's files, and when the newest of them changed; no link is followed."""
    size, changed, count = 0, os.fstat(folder.descriptor).st_mtime, 0
    with contextlib.suppress(OSError, RecursionError):
        for _, _, names, here in os.fwalk(dir_fd=folder.descriptor):
            for name in names:
                with contextlib.suppress(OSError):
                    one = os.stat(name, dir_fd=here, follow_symlinks=False)
                    if stat.S_ISREG(one.st_mode):
                        size, changed = size + one.st_size, max(changed, one.st_mtime)
            count += len(names)
            if count > MOST_FILES:
                break
    return size, changed


def changed_options(stand: Standing) -> dict[str, Any]:
    """What was asked for beside the defaults, by option name; without the seed and the data.

    Defaults of a model that is not installed are not known: of its own options all are shown.
    """
    defaults: dict[str, Any] = {}
    for kind in (DataOptions, TrainSettings):
        defaults |= {f.name: _plain(f.default) for f in options.fields_of(kind)}
    plugin = table(stand.config.get("plugin")).get("distribution")
    with contextlib.suppress(UserError):
        spec = plugins.spec_of(plugins.find(f"{plugin}:{stand.model}"))
        defaults |= {f.name: _plain(f.default) for f in options.fields_of(spec.config)}
        defaults |= {name: _plain(value) for name, value in spec.defaults.items()}
    apart = ("seed", "data", "cache")
    return {
        name: value
        for name, value in sorted(stand.settings.items())
        if name not in apart and value is not None and value != defaults.get(name)
    }


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
