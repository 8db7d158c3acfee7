"""Fuzz targets for labels and storage: tars, CSV, JSONL, dataset.json, CelebA's lists, Parquet.

Most inputs go to the parsers and the join with the images; one in forty goes all the way into the
cache. Parquet is read in a forked child, as gentool reads it in a program of its own: a hostile
file may end that one, but it may not hang, grow or show a traceback.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import signal
import sys
import tarfile
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from gentool.data import DataOptions, load
from gentool.data.decoding.layout import lay_out
from gentool.data.registry import Request, SourceInfo
from gentool.data.sources import tars
from gentool.data.tables import find

Damage = Callable[[bytes, random.Random], bytes]
Reader = Callable[[bytes], None]

HANG, MEMORY, UNCAUGHT = 5, 2**30, 70
TAKEN: dict[str, int] = {}
"""How many damaged files were read to the end, by kind."""

CRASHED: dict[int, int] = {}
"""Signals that ended the reader of Parquet, and how often."""

IMAGES = [f"{k:06d}.png" for k in range(4)]
TABLES = {
    "csv": "labels.csv",
    "jsonl": "metadata.jsonl",
    "dataset.json": "dataset.json",
    "celeba": "list_attr_celeba.txt",
}
WORDS = (
    *(b"", b",", b"\n", b"\r", b'"', b"[", b"]", b"{", b"}", b"\0", b"1e999", b"nan", b"..", b"/"),
    *(
        b"\xff",
        b"-",
        b"|",
        b"\\u0000",
        b"\\ud800",
        b"9" * 40,
        b"[" * 500,
        b"split",
        b"label",
        b"\t",
    ),
)


def damage_text(content: bytes, chance: random.Random) -> bytes:
    """Separators, brackets and odd words in the places of others."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) or 1)
        data[at : at + chance.choice((0, 0, 1, 8, 200))] = chance.choice(WORDS)
    return bytes(data)


def damage_tar(content: bytes, chance: random.Random) -> bytes:
    """Wild bytes in headers, whose checksums are right again."""
    data = bytearray(content)
    heads = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    for _ in range(chance.randint(1, 3)):
        at = chance.choice(heads) + chance.choice((0, 100, 124, 156, 157, 257, 345, 500, 512))
        some = chance.choice((*WORDS, b"../x", b"/etc", b"7" * 11, b"\x80" + b"\xff" * 11, b"x"))
        data[at : at + len(some)] = some
    for at in heads:
        block = data[at : at + 512]
        data[at + 148 : at + 156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    return bytes(data)


def damage_footer(content: bytes, chance: random.Random) -> bytes:
    """Flips and wild bytes, most of them in the metadata, which lies at the end."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 2)):
        back = chance.randint(1, 1500) if chance.random() < 0.6 else chance.randint(1, len(data))
        at = max(len(data) - back, 0)
        size = chance.choice((1, 1, 1, 2, 4))
        flipped = bytes([data[at] ^ 1 << chance.randrange(8)])
        some = (flipped, flipped, chance.randbytes(size), b"\xff" * size)
        data[at : at + size] = chance.choice(some)
    return bytes(data)


STRUCTURED: dict[str, Damage] = {
    **dict.fromkeys(TABLES, damage_text),
    "tar": damage_tar,
    "parquet": damage_footer,
}


def has_parquet() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def png(k: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 6), (k, 255 - k, 9)).save(file, "PNG")
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """One valid file of each kind."""
    rows = [(name, k % 2, 20.5 + k, "a|b" if k % 2 else "b") for k, name in enumerate(IMAGES)]
    lines = [
        {"file_name": n, "smile": bool(s), "age": a, "tags": t.split("|"), "split": "train"}
        for n, s, a, t in rows
    ]
    labels = [[n, [float(s), a]] for n, s, a, _ in rows]
    found = {
        "csv": "file_name,smile,age,tags\n" + "".join(f"{n},{s},{a},{t}\n" for n, s, a, t in rows),
        "jsonl": "".join(json.dumps(line) + "\n" for line in lines),
        "dataset.json": json.dumps({"labels": labels}),
        "celeba": "4\nSmile Old\n" + "".join(f"{n}  {2 * s - 1} 1\n" for n, s, _, _ in rows),
    }
    packed = {**{kind: text.encode() for kind, text in found.items()}, "tar": _tar()}
    return {**packed, "parquet": _parquet()} if has_parquet() else packed


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for k in range(3):
            stem = f"größe-{'x' * 90 * (k == 2)}{k}"
            said = json.dumps({"smile": k % 2, "split": "train"}).encode()
            for suffix, data in ((".png", png(k)), (".json", said), (".cls", b"%d" % k)):
                member = tarfile.TarInfo(stem + suffix)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array(
        [{"bytes": png(k), "path": name} for k, name in enumerate(IMAGES)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": image, "label": [0, 1, 0, 1], "age": [1.5, None, 2.5, 3.5]})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(told), file, row_group_size=2)
    return file.getvalue()


def targets(folder: Path) -> dict[str, Reader]:
    """What reads each kind of file."""

    def whole(path: Path, often: int, content: bytes) -> None:
        """Now and then, decided by the content, the whole way into the cache."""
        if zlib.crc32(content) % often == 0:
            load(DataOptions(data=str(path), cache=str(folder / "cache"), on_bad_file="skip"))

    def table(kind: str) -> Reader:
        place = folder / f"with-{kind}"
        place.mkdir(parents=True, exist_ok=True)
        for k, name in enumerate(IMAGES):
            (place / name).write_bytes(png(k))
        path = place / TABLES[kind]

        def read(content: bytes) -> None:
            path.write_bytes(content)
            said = find.read_all([find.of_path(path)], IMAGES, asked=False)
            lay_out(IMAGES, said)
            whole(place, 40, content)
            _count(kind)

        return read

    def tar(content: bytes) -> None:
        path = folder / "a.tar"
        path.write_bytes(content)
        found = tars._listing([path], [path], _request(path))
        if len(found.entries):
            said = find.read_all(found.tables, found.entries.names, False, found.known)
            lay_out(found.entries.names, said)
        whole(path, 40, content)
        _count("tar")

    def parquet(content: bytes) -> None:
        from gentool_parquet.source import _Gathered

        path = folder / "a.parquet"
        path.write_bytes(content)
        spool, lines = folder / "spool", folder / "lines"
        _read_apart(spool, lines, path)
        gathered = _Gathered(_request(path), [path], spool)
        with lines.open() as rows:
            last = gathered._gather(SimpleNamespace(stdout=rows))  # type: ignore[arg-type]
        if len(gathered.entries):
            names = gathered._told_apart()
            lay_out(names, find.read_all([], names, False, (gathered.table,)))
        whole(path, 400, content)
        if "end" in last:
            _count("parquet")

    made = {kind: table(kind) for kind in TABLES}
    return {**made, "tar": tar, **({"parquet": parquet} if has_parquet() else {})}


def _count(kind: str) -> None:
    TAKEN[kind] = TAKEN.get(kind, 0) + 1


def _request(path: Path) -> Request:
    return Request(SourceInfo("fuzzed", "path", "", ""), DataOptions(), path=path)


def _read_apart(spool: Path, lines: Path, file: Path) -> None:
    """`gentool_parquet.reader` in a forked child, which may be ended by a signal, but not hang."""
    import pyarrow.parquet  # noqa: F401  (once, before the fork)

    from gentool_parquet import reader

    pid = os.fork()
    if pid == 0:
        _child(reader.main, spool, lines, file)
    _, status, used = os.wait4(pid, 0)
    assert used.ru_maxrss * 1024 < 2 * MEMORY, f"Parquet took {used.ru_maxrss // 1024} MB"
    if os.WIFSIGNALED(status):
        ended = os.WTERMSIG(status)
        assert ended not in (signal.SIGALRM, signal.SIGPROF), "reading Parquet hung"
        CRASHED[ended] = CRASHED.get(ended, 0) + 1
    else:
        assert os.WEXITSTATUS(status) == 0, f"reading Parquet: {lines.read_text()}"


def _child(main: Callable[[], None], spool: Path, lines: Path, file: Path) -> Any:
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    signal.alarm(60)
    os.dup2(os.open(lines, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.argv = ["reader", str(spool), str(file)]
    code = UNCAUGHT
    try:
        main()
        code = 0
    except BaseException:
        lines.write_text(traceback.format_exc())
    finally:
        os._exit(code)
