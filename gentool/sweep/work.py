"""Training what a sweep still lacks: one run after the other here, or several in processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gentool import runs
from gentool.console import say
from gentool.errors import UserError, described, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.subprocesses import environment, python
from gentool.sweep.ledger import Ledger
from gentool.sweep.plan import Cell, Sweep, read
from gentool.train.lock import LOCK, locked
from gentool.train.stopping import Stopped, StopRequest, parse_duration

POLL_SECONDS = 0.05
MISTAKE, STOPPED, BUSY = 2, 3, 4
"""Exit codes of a child: what a user can mend; everything is saved, but there is more to do;
another process has the run."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep stands: names of runs."""

    path: Path
    finished: list[str]
    failed: dict[str, str]
    open: list[str]


def work(
    path: Path,
    *,
    jobs: int = 1,
    cache: str | None = None,
    max_time: str | None = None,
    retry: bool = False,
) -> Outcome:
    """Train every run of a sweep that is not finished; one that stopped goes on.

    Args:
        path: the sweep's folder.
        jobs: runs at a time; more than one are trained in processes of their own.
        max_time: save and stop after this long, whatever is under way.
        retry: runs that failed are tried again; what they left stays in ``failed/``.

    Raises:
        Stopped: after a signal or `max_time`, with everything saved.
        UserError: where another process works on the sweep, or it is none.
    """
    limit = parse_duration(max_time)
    until = None if limit is None else time.monotonic() + limit
    with locked(path) as folder:
        sweep = read(folder)
        ledger = Ledger.read(folder)
        cells = sweep.cells()
        todo = [c for c in cells if _is_open(c, ledger, retry)]
        if done := len(cells) - len(todo):
            say(f"{done} of {len(cells)} runs have ended before")
        train = _one_by_one if jobs == 1 else _in_processes
        left = train(Group(path, sweep, ledger, cache, until, len(cells)), todo, jobs)
        names = [c.name for c in cells]
        finished = [n for n in names if ledger.states.get(n) == "finished"]
        failed = {n: ledger.errors[n] for n in names if n in ledger.errors}
        return Outcome(path, finished, failed, left)


def _is_open(cell: Cell, ledger: Ledger, retry: bool) -> bool:
    state = ledger.states.get(cell.name)
    if state == "finished":
        return not ledger.folder.has(cell.name)  # somebody deleted it: it is wanted again
    return state is None or retry


@dataclass
class Group:
    """A sweep under way."""

    path: Path
    sweep: Sweep
    ledger: Ledger
    cache: str | None
    until: float | None
    total: int

    def left(self) -> str | None:
        """What remains of the time, as ``--max-time`` takes it; raises Stopped at its end."""
        if self.until is None:
            return None
        rest = self.until - time.monotonic()
        if rest <= 0:
            raise self.stopped(Stopped("stopped by --max-time", 0))
        return f"{rest:.3f}"

    def stopped(self, reason: Stopped) -> Stopped:
        """The same with how to go on."""
        first = str(reason).partition(";")[0]
        return Stopped(f"{first}; go on with: gentool resume {self.path}", reason.code)

    def tell(self, cell: Cell, how: str) -> None:
        say(f"[{len(self.ledger.states)}/{self.total}] {cell.name}: {how}")


def _one_by_one(group: Group, todo: list[Cell], jobs: int) -> list[str]:
    busy = []
    for cell in todo:
        limit = group.left()
        try:
            train_cell(group.path, group.sweep, cell, group.cache, limit)
        except Stopped as reason:
            raise group.stopped(reason) from None
        except Busy:
            busy.append(cell.name)
            group.tell(cell, "another process trains it")
        except Exception as error:  # one that fails does not take the others with it
            message = str(error) if isinstance(error, UserError) else described(error)
            group.ledger.failed(cell.name, message)
            group.tell(cell, f"failed: {message}")
        else:
            group.ledger.finished(cell.name)
            group.tell(cell, "finished")
    return busy


class Busy(Exception):
    """Another process holds the run."""


def train_cell(path: Path, sweep: Sweep, cell: Cell, cache: str | None, limit: str | None) -> None:
    """Train a run of a sweep to its end, from the beginning or from where it stopped.

    Raises:
        Busy: where another process trains it.
        Stopped, UserError: as `gentool.train.session.start` and `resume` do.
    """
    from gentool.train.session import resume, start

    run = runs.Run(path / cell.name)
    if run.path.is_symlink():
        raise UserError(f"{printable(str(run.path))} is a link, not a run of this sweep")
    if run.path.is_dir():
        with _held(run.path) as folder:
            if not folder.has(run.config.name):
                _empty(folder)
    if run.config.is_file():
        resume(run, {} if limit is None else {"max_time": limit}, cache)
        return
    more = {"cache": cache, "max_time": limit}
    start(sweep.job(cell, **{k: v for k, v in more.items() if v is not None}), run.path)


@contextmanager
def _held(path: Path) -> Iterator[Folder]:
    """The run's folder, locked for a moment; raises Busy where another process has it."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(locked(path))
        except UserError as error:
            raise Busy from error
        yield folder


def _empty(folder: Folder) -> None:
    """Clear a run that was killed before its config was written: there is nothing in it yet."""
    left = set(folder.names()) - {LOCK}
    for name in left:
        try:
            os.rmdir(name, dir_fd=folder.descriptor)  # the empty samples/
        except OSError:
            if name.startswith(".") and ".tmp" in name:
                folder.remove(name)  # the config, half written
                continue
            raise UserError(
                f"{printable(str(folder.path))} holds something, but no config.json; move it away"
            ) from None


@dataclass
class Child:
    """A process that trains a run; it ends when its standard input does."""

    cell: Cell
    process: subprocess.Popen[bytes]
    log: Path


def _in_processes(group: Group, todo: list[Cell], jobs: int) -> list[str]:
    waiting, going, left = list(todo), list[Child](), list[str]()
    with StopRequest() as stop, user_errors("a log of the sweep", group.path / "logs"):
        with group.ledger.folder.folder("logs", make=True):
            pass
        try:
            while waiting or going:
                reason = stop.pending()
                if reason is None and group.until and time.monotonic() >= group.until:
                    reason = Stopped("stopped by --max-time", 0)
                if reason is not None:
                    _end(going)
                    for child in going:
                        _ended(group, child, left, asked=True)
                    raise group.stopped(reason)
                while waiting and len(going) < jobs:
                    going.append(_begin(group, waiting.pop(0), jobs))
                for child in [c for c in going if c.process.poll() is not None]:
                    going.remove(child)
                    _ended(group, child, left)
                time.sleep(POLL_SECONDS)
        finally:
            _end(going)
    return left


def _begin(group: Group, cell: Cell, jobs: int) -> Child:
    log = group.path / "logs" / f"{cell.name}.log"
    command = python("-m", "gentool.sweep.child", str(group.path), cell.name)
    command += [group.left() or "", group.cache or ""]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    surroundings = {"OMP_NUM_THREADS": threads, **environment()}
    with _log(log) as file:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=surroundings
        )
    return Child(cell, process, log)


def _log(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def _end(going: list[Child]) -> None:
    """Ask every child to save and stop, and wait for it."""
    for child in going:
        if child.process.poll() is None:
            with contextlib.suppress(OSError):
                child.process.terminate()
    for child in going:
        child.process.wait()
        if child.process.stdin is not None:
            child.process.stdin.close()


def _ended(group: Group, child: Child, left: list[str], asked: bool = False) -> None:
    """Note how a child ended.

    Args:
        asked: it was told to stop; one that was still starting dies of the signal, and has not
            failed.
    """
    code = child.process.wait()
    if asked and code not in (0, MISTAKE):
        code = STOPPED
    if child.process.stdin is not None:
        child.process.stdin.close()
    if code == 0:
        group.ledger.finished(child.cell.name)
        group.tell(child.cell, "finished")
    elif code in (STOPPED, BUSY):
        left.append(child.cell.name)
        group.tell(child.cell, "stopped" if code == STOPPED else "another process trains it")
    else:
        message = _last_line(child.log) if code > 0 else f"killed by signal {-code}"
        group.ledger.failed(child.cell.name, message)
        group.tell(child.cell, f"failed: {message}")


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
        if lines:
            return printable(lines[-1].removeprefix("gentool: "), 500)
    return "it ended without a word"
