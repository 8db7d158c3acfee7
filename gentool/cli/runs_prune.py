"""``gentool runs prune``: free the checkpoints of finished runs, after asking."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gentool import runs as store
from gentool.console import print_table, say, tell
from gentool.errors import UserError


def prune(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]…", help="Runs and sweeps; default: all below ./runs."),
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Newest checkpoints of each run that stay.")
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Free the checkpoints of finished runs. Models, numbers and pictures stay; so do runs that
    can still be resumed."""
    from gentool.train import prune as pruning

    found, passed = pruning.freeable(_chosen(runs), keep)
    for run, reason in passed:
        say(f"left alone: {run.path}: {reason}")
    if not found:
        say("there is no checkpoint to free")
        return
    rows = [(str(f.run.path), str(len(f.names)), size(f.size)) for f in found]
    print_table(("run", "checkpoints", "size"), rows)
    say(
        f"{size(sum(f.size for f in found))} would be freed; "
        + (
            "these runs can then be sampled and judged, but not trained further"
            if keep == 0
            else f"the newest {keep} of each run stay"
        )
    )
    if averaged := [f for f in found if f.averaged and keep == 0]:
        say(f"of {len(averaged)} of them, trained with --ema, the raw weights go as well")
    if not yes and not _agreed():
        say("nothing was removed")
        return
    freed = 0
    for one in found:
        try:
            pruning.free(one, keep)
            freed += one.size
        except UserError as error:
            say(f"left alone: {error}")
    tell(f"freed {size(freed)}")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UserError("nobody is here to be asked; say --yes to remove these checkpoints")
    print("Remove these checkpoints? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _chosen(names: list[str] | None) -> list[store.Run]:
    from gentool.sweep.plan import is_sweep, members

    if names:
        paths = [store.find(name).path for name in names]
    else:
        paths = [run.path for run in store.every()]
        if store.ROOT.is_dir():
            paths += sorted(p for p in store.ROOT.iterdir() if p.is_dir() and is_sweep(p))
    chosen = [one for p in paths for one in (members(p) if is_sweep(p) else [p])]
    return [store.Run(path) for path in dict.fromkeys(chosen)]


def size(count: float) -> str:
    """Bytes for people: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
