"""Many processes at once on one cache, or on the lock of one run.

python tests/torture/hammer.py cache --count 10000   every load gives the right pixels
python tests/torture/hammer.py lock --count 50000    never two holders at a time
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from gentool.data import DataOptions, load
from gentool.errors import UserError
from gentool.train.lock import locked

PROCESSES = 4
SOURCES = ("glyphs:20", "glyphs:21", "glyphs:22")


def expected(folder: Path) -> dict[str, bytes]:
    """What each source holds, by a cache that nobody else uses."""
    options = [DataOptions(data=name, cache=str(folder / "alone")) for name in SOURCES]
    return {o.data: load(o).train.x.tobytes() for o in options}


def hammer_cache(folder: Path, wanted: dict[str, bytes], count: int, seed: int) -> int:
    """Load, and now and then damage, cut or remove an entry as another program might."""
    chance, home = random.Random(seed), folder / "cache" / "decoded"
    os.environ["GENTOOL_CACHE_GB"] = chance.choice(("0", "0.00005", "1"))
    for _ in range(count):
        name = chance.choice(SOURCES)
        pixels = load(DataOptions(data=name, cache=str(folder / "cache"))).train.x
        assert pixels.tobytes() == wanted[name], f"{name} is not what it was"
        if chance.random() < 0.2:
            with contextlib.suppress(OSError, IndexError):
                damage(chance, chance.choice(sorted(home.glob("?" * 32))))
    return count


def damage(chance: random.Random, entry: Path) -> None:
    """Files are replaced, not written into: who has mapped the old one keeps it."""
    kind, file = chance.randrange(4), chance.choice(("meta.json", "train.npy"))
    aside = entry.parent / f"torn-{chance.random()}"
    if kind == 0:
        shutil.rmtree(entry)
    elif kind == 1:
        aside.write_bytes((entry / file).read_bytes()[:-7])
        aside.replace(entry / file)
    elif kind == 2:
        (entry / file).unlink()
    else:
        aside.write_text("")
        entry.rename(entry.parent / f"gone-{chance.random()}")
        aside.rename(entry)


def hammer_lock(folder: Path, _: object, count: int, seed: int) -> int:
    """Take the lock `count` times; whoever holds it must be alone."""
    inside, got = folder / "inside", 0
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while got < count:
        try:
            with locked(folder):
                descriptor = os.open(inside, os.O_CREAT | os.O_EXCL)  # FileExistsError: two
                os.close(descriptor)
                inside.unlink()
                got += 1
        except UserError:
            continue  # another process holds it
    return got


def child(target: Callable[..., int], *arguments: object) -> None:
    try:
        target(*arguments)
    except BaseException:
        text = io.StringIO()
        traceback.print_exc(file=text)
        print(text.getvalue(), flush=True)
        os._exit(1)


def torture(what: str, count: int, seed: int) -> int:
    """Run the hammer in `PROCESSES` processes; raises AssertionError where one failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = expected(folder) if what == "cache" else {}
        target = hammer_cache if what == "cache" else hammer_lock
        each = -(-count // PROCESSES)
        context = multiprocessing.get_context("fork")
        started = [
            context.Process(target=child, args=(target, folder, facts, each, seed + i))
            for i in range(PROCESSES)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        assert [p.exitcode for p in started] == [0] * PROCESSES, "a process failed"
        left = [p.name for p in (folder / "cache").glob("decoded/.*-*")]
        assert not left, f"drafts are left: {left}"
    return each * PROCESSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cache", "lock"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    done = torture(given.what, given.count, given.seed)
    kind = "loads" if given.what == "cache" else "acquisitions"
    print(f"{given.what}: {done} {kind} by {PROCESSES} processes, none went wrong")


if __name__ == "__main__":
    sys.exit(main())
