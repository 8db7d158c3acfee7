"""Fuzz targets for what a run and a cache hold: checkpoints, metrics, pointers, records, cards.

A checkpoint is sealed anew after each damage, as whoever means harm would, and where it is taken,
training goes on for a few steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from toy import trainer

from gentool import runs
from gentool.errors import UserError
from gentool.metrics.kept import _KEY, digest_of, read_back
from gentool.ops.cache import Record
from gentool.render.card import card as write_card
from gentool.render.curves import collect
from gentool.runs import Run
from gentool.train.settings import TrainSettings
from gentool.train.state import load_newest

Damage = Callable[[bytes, random.Random], bytes]
Reader = Callable[[bytes], None]
DTYPES = (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool)
TAKEN: dict[str, int] = {}
"""How many damaged checkpoints were restored, by kind: a fuzzer whose inputs are all refused
tests refusals only."""


def damage_tensors(content: bytes, chance: random.Random) -> bytes:
    """A valid file in which a tensor has another shape, type, name or value, or is gone."""
    tensors = load(content)
    name = chance.choice(sorted(tensors))
    old = tensors[name]
    kind = chance.randrange(8)
    if kind == 0:
        sizes = [chance.choice((0, 1, 2, 3, 7, 100)) for _ in range(chance.randrange(4))]
        tensors[name] = torch.zeros(sizes, dtype=old.dtype)
    elif kind == 1:
        tensors[name] = old.to(chance.choice(DTYPES))
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        tensors[chance.choice(("x", "player9/0/step", "", "../x", "player0/99/exp_avg"))] = (
            old.clone()
        )
    elif kind == 4:
        tensors[name] = old.flatten().clone()[: chance.randrange(max(1, old.numel()))]
    elif kind == 5 and old.is_floating_point():
        value = chance.choice((np.nan, np.inf, -np.inf, 1e38, -1.0, 1e-45))
        tensors[name] = torch.full_like(old, value)
    elif kind == 6:
        tensors[name] = torch.cat([old.flatten(), old.flatten()])
    else:
        raw = bytearray(old.contiguous().view(-1).numpy().tobytes())
        for _ in range(min(3, len(raw))):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        if raw and old.dtype != torch.bool:
            tensors[name] = torch.frombuffer(raw, dtype=old.dtype).view(old.shape).clone()
    return bytes(save({k: v.contiguous() for k, v in tensors.items()}))


def damage_kept(content: bytes, chance: random.Random) -> bytes:
    """The same for a classifier of the cache, with its hash made anew as often as not."""
    damaged = load(damage_tensors(content, chance))
    seal = digest_of(damaged) if chance.random() < 0.5 else "0"
    return bytes(save(damaged, {_KEY: seal}))


def damage_rows(content: bytes, chance: random.Random) -> bytes:
    """Lines swapped, doubled and dropped."""
    lines = content.splitlines()
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        lines[at:at] = chance.choices(lines, k=chance.randrange(3))
        del lines[chance.randrange(len(lines))]
    return b"\n".join(lines)


@dataclass
class Restored:
    """A checkpoint of a small game on disk, one file of it replaced, and the game it goes to."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = TrainSettings(steps=40, batch_size=20, ema=0.9)
        (self.folder / "game").mkdir(parents=True)
        self.trainer = trainer(self.folder / "game", settings)
        for _ in range(3):
            self.trainer.take_step()
        self.trainer.save()
        self.trainer.recorder.close()
        (step,) = (self.folder / "game" / "run" / "state").glob("step-*")
        self.files = {p.name: p.read_bytes() for p in step.iterdir()}

    def reader(self, name: str) -> Reader:
        return lambda content: self.restore(name, content)

    def restore(self, name: str, content: bytes) -> None:
        place = self.folder / "hostile" / "step-000000003"
        place.mkdir(parents=True, exist_ok=True)
        files = {**self.files, name: content}
        if name != "manifest.json":
            entries = {
                n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()}
                for n, c in files.items()
                if n != "manifest.json"
            }
            files["manifest.json"] = json.dumps(entries).encode()
        for n, c in files.items():
            (place / n).write_bytes(c)
        game = self.trainer.game
        game.restore(load_newest(self.folder / "hostile"))
        TAKEN[name] = TAKEN.get(name, 0) + 1
        if game.step < self.trainer.total - 3:
            for _ in range(3):
                self.trainer.take_step()
        game.snapshot()


def seeds(folder: Path, config: bytes) -> dict[str, bytes]:
    """One valid file of each kind."""
    restored = Restored(folder / "restored")
    RESTORED.append(restored)
    rows = [
        {"epoch": 1, "step": i, "split": split, "loss": 1.5 * i, "grad_norm": 0.1}
        for i in range(1, 4)
        for split in ("train", "test")
    ]
    record = Record("2.13", "cpython-311", "0" * 64, 10, "0" * 64, ("avx2",))
    record.write(folder / "record")
    network = small()
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    return {
        "state.json": restored.files["state.json"],
        "manifest.json": restored.files["manifest.json"],
        "weights": restored.files["weights.safetensors"],
        "optim": restored.files["optim.safetensors"],
        "average": restored.files["average.safetensors"],
        "metrics": "\n".join(json.dumps(row) for row in rows).encode(),
        "card": config,
        "latest": os.fsencode(folder) + b"\n",
        "build.json": (folder / "record").read_bytes(),
        "classifier": bytes(save(state, {_KEY: digest_of(state)})),
    }


RESTORED: list[Restored] = []


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


STRUCTURED: dict[str, Damage] = {
    "weights": damage_tensors,
    "optim": damage_tensors,
    "average": damage_tensors,
    "classifier": damage_kept,
    "metrics": damage_rows,
}


def targets(folder: Path) -> dict[str, Reader]:
    """What reads each kind."""
    (restored,) = RESTORED[-1:]
    run = Run(folder / "edited")
    (run.samples).mkdir(parents=True)
    model = small()

    def metrics(content: bytes) -> None:
        run.metrics.write_bytes(content)
        collect(run.read_metrics())

    def card(content: bytes) -> None:
        run.config.write_bytes(content)
        rows: list[dict[str, Any]] = [{"split": "train", "step": 1, "loss": 0.5}]
        write_card(run, run.read_config(), rows, [], model)  # type: ignore[arg-type]

    def latest(content: bytes) -> None:
        path = folder / "runs" / ".latest"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        old, runs.LATEST = runs.LATEST, path
        try:
            runs.latest()
        finally:
            runs.LATEST = old

    def build_record(content: bytes) -> None:
        (folder / "build.json").write_bytes(content)
        descriptor = os.open(folder / "build.json", os.O_RDONLY)
        try:
            Record.read(descriptor)
        except ValueError as error:
            raise UserError("not a record") from error
        finally:
            os.close(descriptor)

    def classifier(content: bytes) -> None:
        path = folder / "kept.safetensors"
        path.write_bytes(content)
        network = small()
        before: dict[str, Tensor] = {k: v.clone() for k, v in network.state_dict().items()}
        if not read_back(network, path):
            after = network.state_dict()
            assert all(torch.equal(after[k], v) for k, v in before.items()), "loaded in part"

    return {
        "state.json": restored.reader("state.json"),
        "manifest.json": restored.reader("manifest.json"),
        "weights": restored.reader("weights.safetensors"),
        "optim": restored.reader("optim.safetensors"),
        "average": restored.reader("average.safetensors"),
        "metrics": metrics,
        "card": card,
        "latest": latest,
        "build.json": build_record,
        "classifier": classifier,
    }
