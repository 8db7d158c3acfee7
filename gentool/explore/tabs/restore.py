"""Restore: an image is spoiled, and what it may have been arrives while the chains run."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.explore import commands, places
from gentool.explore.session import Subject
from gentool.explore.tabs.reconstruct import DRAWN, png
from gentool.explore.tabs.tab import Tab, makes_images
from gentool.explore.wire import Answer, Ask, File
from gentool.latent.points import parse, title
from gentool.render.grid import to_pixels
from gentool.restore.measurement import measure
from gentool.restore.operators.base import Operator
from gentool.restore.operators.missing import Missing
from gentool.restore.operators.registry import build
from gentool.restore.picture import draw_restoration, heat
from gentool.restore.posterior import Schedule
from gentool.restore.restoration import Restoration, restore

HOLES = ("center", "left", "right", "top", "bottom", "random:0.5")
FACTORS = (2, 4, 8)
HOLE = "hole.png"
"""What a painted hole is called, once it is saved: white where pixels are missing."""

HOTTEST = 0.02
EVERY = 0.4
"""Seconds from one picture of the chains to the next."""

MOST_SAMPLES, MOST_STEPS, CHAINS = 16, 5000, 4


def run(subject: Subject, ask: Ask) -> Answer:
    """Restorations of an example or drawn image: the chains as they run, and then what is told."""
    model, point = subject.model.model, ask.within("point")
    operator, words, files = _operator(subject, ask)
    x, _ = places.example(subject, point)
    label = places.label(subject, ask) if "label" in ask else None
    schedule = Schedule(
        CHAINS,
        ask.whole("warmup", 0, MOST_STEPS, 150),
        ask.whole("draws", 1, MOST_STEPS, 100),
        seed=ask.whole("seed", 0, places.MOST_SEED, 0),
    )
    samples = ask.whole("samples", 1, MOST_SAMPLES, 8)
    seen = measure(x[None], operator, seed=schedule.seed)
    given = to_pixels(operator.preview(seen.y).numpy())[0]
    subject.report(Answer({"step": 0, "of": schedule.warmup + schedule.draws}, (given,)))
    found = restore(
        model,
        seen,
        samples=samples,
        schedule=schedule,
        labels=None if label is None else torch.tensor([label]),
        progress=subject.progress,
        watch=_watch(subject, schedule),
    )
    name = point.text("example") if "example" in point else DRAWN
    words = [name, *words, *(["--degrade"] if name == DRAWN else [])]
    words += ["--samples", str(samples), "--warmup", str(schedule.warmup)]
    words += ["--draws", str(schedule.draws), "--seed", str(schedule.seed)]
    words += places.class_words(subject, label)
    line = commands.line("restore", subject.word, *words, "--out", "restored.png")
    shown = title(parse(name)[0]) if name != DRAWN else DRAWN.removesuffix(".png")
    parts = [given, to_pixels(found.mean.numpy())[0], _heat(found.std[0])]
    parts += list(to_pixels(found.samples[0].numpy()))
    files = [
        File(_sheet(found, x, shown), name="restored.png"),
        File(png(_pixels(x)), name=DRAWN),
        *files,
    ]
    return Answer(_facts(found, x), [*parts, *files], line)


def _operator(subject: Subject, ask: Ask) -> tuple[Operator, list[str], list[File]]:
    """What happened to the image, as the terminal says it, and the file that this needs."""
    shape, seed = tuple(subject.model.model.data.shape), ask.whole("seed", 0, places.MOST_SEED, 0)
    kind = ask.choice("spoilt", ("painted", "hole", "scale", "grey"))
    if kind == "painted":
        size = shape[1] * shape[2]
        hole = np.frombuffer(places.raw(ask, "hole", size), np.uint8).reshape(shape[1:]) > 127
        if not hole.any():
            raise UserError("paint a hole first: drag over the image")
        seen = ~torch.from_numpy(hole.copy()).expand(shape)
        white = (255 * hole.astype(np.uint8))[None]
        return Missing(seen), ["--missing", HOLE], [File(png(white), name=HOLE)]
    if kind == "hole":
        name = ask.choice("where", HOLES)
        return build(f"missing:{name}", shape, seed), ["--missing", name], []
    if kind == "scale":
        factor = ask.whole("factor", 2, 8)
        return build(f"scale:{factor}", shape, seed), ["--scale", str(factor)], []
    return build("grey", shape, seed), ["--grey"], []


def _watch(subject: Subject, schedule: Schedule) -> Callable[[int, Callable[[], Tensor]], None]:
    """Sends what the chains have now, a few times a second; means are of what came after the
    warm-up."""
    sent = time.monotonic()
    seen: list[Tensor] = []

    def watch(step: int, images: Callable[[], Tensor]) -> None:
        nonlocal sent
        if time.monotonic() - sent < EVERY:
            return
        now = images()
        if step > schedule.warmup:
            seen.append(now)
        every = torch.cat(seen or [now])
        mean, std = every.mean(0), every.std(0, correction=0)
        facts = {"step": step, "of": schedule.warmup + schedule.draws}
        parts = [to_pixels(mean[None].numpy())[0], _heat(std), *to_pixels(now.numpy())]
        subject.report(Answer(facts, parts))
        sent = time.monotonic()

    return watch


def _facts(found: Restoration, x: Tensor) -> dict[str, object]:
    assert found.draws is not None
    return {
        "done": True,
        "samples": found.samples.shape[1],
        "error": (found.mean[0] - x).square().mean().item(),
        "deviation": found.std[0].square().mean().sqrt().item(),
        "hottest": max(HOTTEST, float(found.std.max())),
        "rhat": found.draws.rhat[0].item(),
        "effective": found.draws.effective[0].item(),
        "acceptance": found.draws.acceptance[0].item(),
        "likelihood": "the decoder's own likelihood"
        if found.exact
        else f"Gaussian noise of {found.noise:g}",
        "notes": list(found.notes),
    }


def _sheet(found: Restoration, x: Tensor, shown: str) -> bytes:
    file = io.BytesIO()
    draw_restoration(found, x[None], [shown], 1).save(file, format="PNG")
    return file.getvalue()


def _pixels(x: Tensor) -> np.ndarray:
    found: np.ndarray = to_pixels(x[None].numpy())[0]
    return found


def _heat(std: Tensor) -> np.ndarray:
    return heat(std, max(HOTTEST, float(std.max())))


TAB = Tab("restore", makes_images, {}, {"run": run})
