"""Training: a run's curves and what it made on the way, while it trains or after.

A frame of the film is a snapshot of the weights, where `gentool train --keep-history N` kept some;
else a sample picture of the run; and the model as it is now. For points a frame holds what the
generator makes, the real points, the landscape of the critic or discriminator, and its gradient.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool import loading
from gentool.errors import UserError
from gentool.explore import commands
from gentool.explore.places import MOST_SEED
from gentool.explore.session import Subject
from gentool.explore.tabs.tab import Tab
from gentool.explore.wire import Answer, Ask, File
from gentool.loading import LoadedModel
from gentool.model import Scores
from gentool.render.samples import grid_png
from gentool.runs import Run, read_metrics
from gentool.sampling import arrange
from gentool.train.history import FOLDER, steps_of
from gentool.train.landscape import landscape

MOST_POINTS = 600
"""Of one curve."""

MOST_PICTURE = 2**25
"""Bytes of a sample picture."""

MOST_STEP = 2**53
FAKE, IMAGES, ARROWS, SNAPSHOTS = 1000, 64, 150, 6
"""Generated points and images, arrows of the gradient, and snapshots that stay loaded."""

BESIDE = {"epoch", "step", "split", "warning"}


def curves(subject: Subject, ask: Ask) -> Answer:
    """Every scalar of metrics.jsonl over the steps; nothing new where the file is as it was."""
    run = _run(subject)
    with run.folder() as folder:
        there = run.metrics.stat() if folder.has("metrics.jsonl") else None
        version = "" if there is None else f"{there.st_size}-{there.st_mtime_ns}"
        if ask.text("version", "-") == version:
            return Answer({"version": version, "same": True})
        rows = read_metrics(folder)
    series: dict[str, dict[str, list[list[float]]]] = {}
    for row in rows:
        split = row.get("split")
        for name, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in BESIDE or not number or not isinstance(split, str):
                continue
            steps, values = series.setdefault(name, {}).setdefault(split, [[], []])
            steps.append(row["step"])
            values.append(float(value))
    thinned = {
        name: {split: _thinned(*pair) for split, pair in splits.items()}
        for name, splits in list(series.items())[:40]
    }
    warned = [str(row["warning"])[:300] for row in rows if row.get("warning")]
    last = rows[-1] if rows else {}
    facts = {"series": thinned, "warnings": warned[-5:], "version": version}
    return Answer({**facts, "step": last.get("step", 0), "epoch": last.get("epoch", 0)})


def _thinned(steps: list[float], values: list[float]) -> list[list[float]]:
    """At most `MOST_POINTS` of a curve, the last among them."""
    every = max(1, -(-len(steps) // MOST_POINTS))
    return [steps[::-1][::every][::-1], values[::-1][::every][::-1]]


def frames(subject: Subject, ask: Ask) -> Answer:
    """The film's frames: the step of each, and what it is."""
    run = _run(subject)
    found: dict[int, str] = {}
    with run.folder() as folder:
        if folder.has("samples") and _kind(subject) != "points":
            with folder.folder("samples") as samples:
                names = [re.fullmatch(r"([0-9]{1,15})\.png", name) for name in samples.names()]
            found |= {int(match[1]): "picture" for match in names if match}
        found |= dict.fromkeys(steps_of(folder), "history")
    every = [{"step": step, "kind": kind} for step, kind in sorted(found.items())]
    if subject.loaded is not None:  # with --ema it is the average, which snapshots are not
        every.append({"step": None, "kind": "model"})
    return Answer({"frames": every, "points": _kind(subject) == "points"})


def frame(subject: Subject, ask: Ask) -> Answer:
    """One frame of the film."""
    kind = ask.choice("kind", ("picture", "history", "model"))
    if kind == "model":
        return _made(subject, subject.model, subject.word, ask)
    run, step = _run(subject), ask.whole("step", 0, MOST_STEP)
    if kind == "picture":
        name = f"{step:06d}.png"
        try:
            with run.folder() as folder, folder.folder("samples") as samples:
                return Answer({}, (File(samples.read(name, MOST_PICTURE), name=name),))
        except (OSError, ValueError):
            raise UserError(f"the picture of step {step} cannot be read") from None
    with run.folder() as folder:
        names = steps_of(folder)
    if step not in names:
        raise UserError(f"there is no snapshot of step {step}")
    word = str(Path(subject.word) / FOLDER / names[step])
    return _made(subject, _snapshot(subject, run.path / FOLDER / names[step]), word, ask)


def _snapshot(subject: Subject, file: Path) -> LoadedModel:
    known: dict[tuple[Path, int], LoadedModel] = subject.remember("snapshots", dict)
    key = (file, file.stat().st_mtime_ns)
    if key not in known:
        while len(known) >= SNAPSHOTS:
            del known[next(iter(known))]
        known[key] = loading.load(file, subject.device)
    return known[key]


def _made(subject: Subject, loaded: LoadedModel, word: str, ask: Ask) -> Answer:
    """What a model makes of a seed, with the line that makes the same."""
    seed = ask.whole("seed", 0, MOST_SEED, 0)
    images = loaded.header.data.kind == "image"
    layout = arrange(loaded.model, None, IMAGES if images else FAKE)
    x = torch.cat(list(loaded.stream(layout.n, seed=seed, labels=layout.labels)))
    words = ["--n", str(layout.n), "--seed", str(seed)]
    if images:
        line = commands.line("sample", word, *words, "--out", "samples.png")
        return Answer({}, (File(grid_png(x.numpy(), layout.columns, layout.cells)),), line)
    line = commands.line("sample", word, *words, "--out", "points.npz")
    return _points(subject, loaded, x, line)


def _points(subject: Subject, loaded: LoadedModel, x: Tensor, line: str) -> Answer:
    """Parts: fake and real points; and of a model that scores the plane, its landscape, and where
    the arrows of its gradient begin and point to."""
    facts: dict[str, Any] = {"landscape": False}
    try:
        dataset = subject.dataset
    except UserError:
        return Answer(facts, (x.numpy(), np.zeros((0, x.shape[1]), np.float32)), line)
    real = np.array(dataset.train.x[:FAKE])
    parts = [x.numpy(), real]
    found = landscape(loaded.model, real, loaded.device)
    if found is not None and found.field.ndim == 2:
        extent = [*found.frame[0], *found.frame[1]]
        facts = {"landscape": True, "extent": extent, "label": found.label, "ends": found.ends}
        begin = x[:ARROWS].to(loaded.device)
        parts += [found.field, begin.cpu().numpy(), gradient(loaded, begin).numpy()]
    return Answer(facts, parts, line)


def gradient(loaded: LoadedModel, x: Tensor) -> Tensor:
    """∂ score(x)/∂x of points x (N, 2), the way in which the critic finds them more real."""
    assert isinstance(loaded.model, Scores)
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(loaded.model.score(x).sum(), x)
    return found.cpu()


def _run(subject: Subject) -> Run:
    if subject.run is None:
        raise UserError("a lone model file knows nothing of its training; name its run")
    return subject.run


def _kind(subject: Subject) -> str:
    """Of data, "image" or "points"; of a run without a model nothing is known, and pictures are
    shown."""
    return "image" if subject.loaded is None else subject.model.header.data.kind


TAB = Tab(
    "training",
    lambda subject: subject.run is not None,
    {},
    {"curves": curves, "frames": frames, "frame": frame},
)
