"""Feeds mutated files to every parser: each must end in success or in one UserError.

python tests/torture/fuzz.py --count 100000
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torture import fuzz_data, fuzz_runs

import gentool
from gentool import plugins, weights
from gentool.data import DataOptions, load
from gentool.errors import UserError
from gentool.options import build, fields_of, read_toml, to_json
from gentool.runs import Run
from gentool.spec import DataSpec
from gentool.train.job import from_run
from gentool.train.settings import TrainSettings, core_fields
from gentool.train.state import load_newest

HANG, WAIT = 5, 60
"""Seconds of work, and seconds in all on a busy machine, after which an input counts as hanging."""

MEMORY = 2**30
INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
TOKENS = [b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'""', b"9" * 400, b"\x1b[2J", b"../"]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """One to four small damages: flips, cuts, repeats, wild integers and tokens."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not data:
            return bytes(data)
        at = chance.randrange(len(data))
        kind = chance.randrange(7)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + chance.randint(1, 16)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        elif kind == 4:
            width, value = chance.choice([1, 2, 4, 8]), chance.choice(INTERESTING)
            order = chance.choice(["little", "big"])
            data[at : at + width] = (value % 256**width).to_bytes(width, order)  # type: ignore[arg-type]
        elif kind == 5:
            data[at:at] = chance.choice(TOKENS)
        else:
            data[at : at + 4] = chance.randbytes(4)
    return bytes(data)


WRONG: list[Any] = [5, -1, True, None, 1e308, 10**400, "x", "\x1b[2J", [], {}, [None], [[1]], 2**63]


def mutate_json(content: bytes, chance: random.Random) -> bytes:
    """Replace one value, anywhere in a JSON document, by one of a wrong type or size."""
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(document)
    for _ in range(chance.randint(1, 2)):
        holder, key = chance.choice(places)
        if chance.random() < 0.15 and isinstance(holder, dict):
            holder.pop(key, None)
        else:
            wrong = chance.choice([*WRONG, [1] * chance.choice([3, 50_000])])
            holder[key] = wrong
    return json.dumps(document).encode()


def mutate_header(content: bytes, chance: random.Random) -> bytes:
    """The same within a safetensors header, or within our entry of it."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    if chance.random() < 0.7:
        document = json.loads(header)
        ours = document["__metadata__"]["gentool"].encode()
        document["__metadata__"]["gentool"] = mutate_json(ours, chance).decode()
        header = json.dumps(document).encode()
    else:
        header = mutate_json(header, chance)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **fuzz_runs.STRUCTURED,
    **fuzz_data.STRUCTURED,
    "state.json": mutate_json,
    "manifest.json": mutate_json,
    "card": mutate_json,
    "build.json": mutate_json,
    "json": mutate_json,
    "state": mutate_json,
    "safetensors": mutate_header,
}


def seeds(folder: Path) -> dict[str, bytes]:
    """One small valid file of each kind."""
    plugin = plugins.find("vae")
    config = build(plugins.spec_of(plugin).config, {"hidden": [4], "latent_dim": 2})
    spec = DataSpec("image", (1, 4, 4))
    model = plugins.spec_of(plugin).load_factory()(config, spec)
    header = weights.Header("vae", plugin.distribution, "0", to_json(config), spec, {})
    weights.save_model(folder / "seed.safetensors", model.state_dict(), header)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 6), dtype=np.uint8)
    picture, jpeg, archive, array, arrays = (io.BytesIO() for _ in range(5))
    Image.fromarray(pixels[0]).save(picture, "PNG")
    Image.fromarray(pixels[0]).save(jpeg, "JPEG")
    with zipfile.ZipFile(archive, "w") as zipped:
        for i in range(3):
            zipped.writestr(f"class{i % 2}/{i}.png", picture.getvalue())
    np.save(array, pixels)
    np.savez(arrays, x=pixels, y=np.arange(8) % 3)
    idx = struct.pack(">IIII", 0x803, *pixels.shape) + pixels.tobytes()
    run = {
        **header.to_json(),
        "settings": to_json(TrainSettings()),
        "data_options": to_json(DataOptions()),
        "fingerprint": "0",
        "environment": {},
    }
    return {
        "safetensors": (folder / "seed.safetensors").read_bytes(),
        "json": json.dumps(run).encode(),
        "state": json.dumps({"step": 3, "players": []}).encode(),
        "toml": b'model = "vae"\nlr = 1e-3\nhidden = [4, 4]\nepochs = 3\n',
        "idx": idx,
        "idxgz": gzip.compress(idx),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
        "png": picture.getvalue(),
        "jpeg": jpeg.getvalue(),
        "zip": archive.getvalue(),
        **fuzz_runs.seeds(folder, json.dumps(run).encode()),
        **fuzz_data.seeds(),
    }


def targets(folder: Path) -> dict[str, Callable[[bytes], None]]:
    """What reads each kind of file, from bytes that somebody sent."""
    cache = str(folder / "cache")

    def file(name: str, content: bytes) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def data(name: str) -> Callable[[bytes], None]:
        def read(content: bytes) -> None:
            path = file(name, content)
            source = path.parent if path.parent != folder else path
            load(DataOptions(data=str(source), cache=cache, size="6"))

        return read

    def safetensors(content: bytes) -> None:
        gentool.load(file("model.safetensors", content)).sample(1)

    def config(content: bytes) -> None:
        run = Run(file("run/config.json", content).parent)
        from_run(run, run.read_config(), {})

    def state(content: bytes) -> None:
        load_newest(file("states/step-000000001/manifest.json", content).parents[1])

    fields = (*core_fields(), *fields_of(plugins.spec_of(plugins.find("vae")).config))

    def toml(content: bytes) -> None:
        read_toml(file("recipe.toml", content), fields, "vae")

    return {
        "safetensors": safetensors,
        "json": config,
        "state": state,
        "toml": toml,
        "idx": data("idx/train-images-idx3-ubyte"),
        "idxgz": data("idxgz/train-images-idx3-ubyte.gz"),
        "npy": data("data.npy"),
        "npz": data("data.npz"),
        "png": data("png/a.png"),
        "jpeg": data("jpeg/a.jpg"),
        "zip": data("data.zip"),
        **fuzz_runs.targets(folder),
        **fuzz_data.targets(folder),
    }


SHARE = {"safetensors": 6, "json": 5, "toml": 3, "idx": 2, "npy": 2, "state": 2}
SHARE |= {"state.json": 4, "optim": 4, "manifest.json": 2, "classifier": 2}
SHARE |= {"tar": 3, "csv": 2, "jsonl": 2, "dataset.json": 2, "celeba": 2}
"""How often each kind comes up; 1 where nothing is said."""


def torture(count: int, seed: int, keep: Path, only: Sequence[str] | None = None) -> dict[str, int]:
    """Feed `count` mutated files; raises AssertionError with the file kept where one misbehaves."""
    chance = random.Random(seed)
    torch.set_num_threads(1)
    done: dict[str, int] = {}

    def hung(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"hung for more than {HANG} s of work, or {WAIT} s in all")

    signal.signal(signal.SIGALRM, hung)
    signal.signal(signal.SIGPROF, hung)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        corpus, readers = seeds(folder), targets(folder)
        kinds = [k for k in only or corpus for _ in range(SHARE.get(k, 1))]
        for kind in corpus:  # each seed is valid, or the fuzzer tests nothing
            if kind != "state":
                readers[kind](corpus[kind])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for i in range(count):
            kind = chance.choice(kinds)
            damage = STRUCTURED.get(kind, mutate) if chance.random() < 0.5 else mutate
            content = damage(corpus[kind], chance)
            signal.alarm(WAIT)
            signal.setitimer(signal.ITIMER_PROF, HANG)
            try:
                readers[kind](content)
            except UserError as error:
                assert "\x1b" not in str(error) and "\n" not in str(error), repr(str(error))
            except BaseException as error:
                keep.mkdir(parents=True, exist_ok=True)
                path = keep / f"{kind}-{seed}-{i}"
                path.write_bytes(content)
                raise AssertionError(f"{kind}, kept as {path}: {error!r}") from error
            finally:
                signal.alarm(0)
                signal.setitimer(signal.ITIMER_PROF, 0)
            done[kind] = done.get(kind, 0) + 1
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert after - before < MEMORY, f"memory grew by {(after - before) / 2**20:.0f} MiB"
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--only", nargs="+", help="kinds of files")
    given = parser.parse_args()
    done = torture(given.count, given.seed, given.keep, given.only)
    print(f"{sum(done.values())} mutated files, no misbehaviour: {done}")
    print(f"checkpoints that were taken, three steps each: {fuzz_runs.TAKEN}")
    print(f"labels and storage that were read to the end: {fuzz_data.TAKEN}")
    print(f"signals that ended the reader of Parquet: {fuzz_data.CRASHED}")


if __name__ == "__main__":
    main()
