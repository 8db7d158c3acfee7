"""``gentool runs list``: every run that is known, and how it stands."""

from __future__ import annotations

import operator
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gentool import runs as store
from gentool.console import is_showable, print_json, print_table, say
from gentool.errors import UserError, printable
from gentool.train.standing import Standing, changed_options, standing

BOOKKEEPING = ("epoch", "step", "split", "examples_per_s", "warning")

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def list_runs(
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="KEY=VALUE", help="Only those: model=dcgan, state=training, lr<0.01."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="KEY", help="By this instead of date; -KEY: downwards."),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="Only the runs below ./runs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every run that is known, oldest first, and how it stands.

    KEY is model, data, state, seed, epoch, step, date, size, speed, tag, any option, or any scalar
    of the last rows of metrics.jsonl.
    """
    found = store.every() if here else store.everywhere()
    rows = [summary(run) for run in found]
    for condition in where or ():
        rows = [row for row in rows if _holds(row, condition)]
    if sort is not None:
        rows = _sorted(rows, sort)
    if json:
        print_json([{k: v for k, v in row.items() if k != "facts"} for row in rows])
        return
    headers = ("run", "model", "data", "state", "epoch", "speed", "size", "date", "seed")
    names = short_names([Path(row["run"]) for row in rows])
    lines = [_line(row, name) for row, name in zip(rows, names, strict=True)]
    print_table((*headers, "changed", "last"), lines)
    for row in rows:
        if "error" in row:
            say(f"warning: {row['error']}")


def summary(run: store.Run) -> dict[str, Any]:
    """What is said of a run, as plain JSON; of one that cannot be read, why."""
    try:
        stand = standing(run)
    except (UserError, OSError) as error:
        return {"run": str(run.path), "error": str(error), "facts": {}}
    last = {
        split: {k: v for k, v in row.items() if k not in BOOKKEEPING}
        for split, row in stand.last.items()
        if split != "warning"
    }
    changed = changed_options(stand)
    shown = {
        "run": str(run.path),
        "model": stand.model,
        "data": stand.data,
        "state": stand.state,
        "pid": stand.holder.pid if stand.holder is not None else None,
        "host": stand.holder.host if stand.holder is not None else None,
        "epoch": stand.epoch,
        "epochs": stand.epochs,
        "step": stand.step,
        "steps": stand.total,
        "examples_per_s": stand.examples_per_s,
        "size": stand.size,
        "changed_at": stand.changed,
        "seed": stand.settings.get("seed"),
        "changed": changed,
        "tags": stand.tags,
        "reason": stand.reason,
        "last": last,
    }
    return {**shown, "facts": _facts(stand, last)}


def _facts(stand: Standing, last: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What --where and --sort can ask for; a scalar is the test split's where it has it."""
    scalars: dict[str, Any] = {}
    for split in ("samples", "train", "test"):
        scalars |= last.get(split, {})
    own = {
        "run": stand.run.path.name,
        "model": stand.model,
        "data": stand.data,
        "state": stand.state,
        "epoch": stand.epoch,
        "step": stand.step,
        "speed": stand.examples_per_s,
        "size": stand.size,
        "date": stand.changed,
        "tag": stand.tags,
    }
    return {**scalars, **stand.settings, **own}


def _holds(row: dict[str, Any], condition: str) -> bool:
    """Whether a run fulfils a condition of --where; one that lacks the key does not."""
    sign = next((s for s in OPERATORS if s in condition), None)
    key, _, wanted = condition.partition(sign or "=")
    if sign is None or not key.strip():
        raise UserError(
            f"--where {printable(condition, 80)!r} is no condition such as model=dcgan or lr<0.01"
        )
    value = row["facts"].get(key.strip().replace("-", "_"))
    if isinstance(value, list):
        texts = [str(v) for v in value]
        return (wanted.strip() in texts) == (sign != "!=")
    if value is None:
        return sign == "!="
    try:
        if isinstance(value, bool):
            raise ValueError
        return OPERATORS[sign](float(value), float(wanted))
    except (ValueError, OverflowError):
        known = {True: "true", False: "false"}.get(value, str(value))
        return OPERATORS[sign](known.lower(), wanted.strip().lower())


def _sorted(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """By a key, numbers before words; runs that lack it come last, whichever the direction."""
    down, name = key.startswith("-"), key.lstrip("-").replace("-", "_")

    def place(row: dict[str, Any]) -> tuple[int, float, str]:
        value = row["facts"][name]
        return (0, float(value), "") if is_showable(value) else (1, 0.0, str(value))

    having = [row for row in rows if row["facts"].get(name) is not None]
    if not having and rows:
        raise UserError(f"--sort {printable(name, 60)} is nothing that one of these runs has")
    rest = [row for row in rows if row["facts"].get(name) is None]
    return [*sorted(having, key=place, reverse=down), *rest]


def short_names(paths: list[Path]) -> list[str]:
    """Names that can be typed: below here as they are, else the last part where it is one run's."""
    count = Counter(path.name for path in paths)
    home, shown = os.environ.get("HOME", "/").rstrip("/") + "/", []
    for path in paths:
        full = str(path.absolute())
        if not path.is_absolute():
            shown.append(str(path))
        elif path.is_relative_to(Path.cwd()):
            shown.append(str(path.relative_to(Path.cwd())))
        elif count[path.name] == 1 and not (store.ROOT / path.name).exists():
            shown.append(path.name)
        else:
            shown.append("~/" + full[len(home) :] if full.startswith(home) else full)
    return shown


def _line(row: dict[str, Any], name: str) -> list[str]:
    if "error" in row:
        return [name, "?", "?", "unreadable", *[""] * 7]
    loss = row["last"].get("test") or row["last"].get("train") or {}
    numbers = [(k, float(v)) for k, v in loss.items() if is_showable(v)]
    changed = [f"{k}={brief(v)}" for k, v in row["changed"].items()]
    return [
        name,
        row["model"],
        row["data"],
        f"{row['state']} {row['pid']}" if row["pid"] else row["state"],
        str(row["epoch"]) if row["epochs"] is None else f"{row['epoch']}/{row['epochs']}",
        "" if row["examples_per_s"] is None else f"{row['examples_per_s']:,.0f}/s",
        size(row["size"]),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(row["changed_at"])),
        brief(row["seed"]),
        " ".join([*changed, *(f"#{tag}" for tag in row["tags"])]),
        ", ".join(f"{k} {v:.4g}" for k, v in numbers[:2]),
    ]


def brief(value: Any) -> str:
    """A setting as it is typed."""
    if isinstance(value, list):
        return ",".join(map(brief, value))
    if isinstance(value, bool) or not is_showable(value):
        return str(value)[:80]
    return f"{value:g}" if isinstance(value, float) else str(value)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
