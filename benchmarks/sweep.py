"""What a training step costs over batch size, image size and model width, against plain loops.

    python benchmarks/sweep.py --quick                     two points an axis, under a minute
    python benchmarks/sweep.py                             everything, about a quarter of an hour
    python benchmarks/sweep.py --models wgan --axes width --seconds 10

One thing at a time is varied about the model's setting in `train_speed.py`, on the built-in
glyphs. Both loops take turns in one process; times are medians of the turns. The plain loop runs
in fp32 throughout, as example programs do, so bf16 is compared with that. Tables go to stdout;
sweep.csv and a plot of each axis go to benchmarks/results/DEVICE.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import functools
import gc
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter
from plain import VAE, Batches, critic_epoch, game_epoch, loader, vae_epoch
from torch import nn
from train_speed import BATCH, timed, trainer

from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset, Split
from gentool.ops import bench

WIDTH = {"vae": 400, "gan": 256, "dcgan": 32, "wgan": 32}
LATENT = 20  # of the VAE
WIDTHS = {
    "vae": (100, 200, 400, 800, 1600),
    "gan": (64, 128, 256, 512, 1024),
    "dcgan": (8, 16, 32, 64),
    "wgan": (8, 16, 32, 64),
}
NAMES = {"batch": "batch size", "size": "image side (pixels)", "width": "width"}
UNITS = {"vae": "hidden units", "gan": "hidden units, first layer"}

IMAGES, FEW = 20_480, 2_048  # whole batches of every size
TURNS = 3  # at least
WARM_UP = {"cpu": 1, "cuda": 6}  # rounds; a CUDA graph is captured in the fourth


@dataclass(frozen=True)
class Setting:
    """What is timed: a model at a batch size, image side, width and precision."""

    model: str
    batch: int
    size: int
    width: int
    precision: str

    @classmethod
    def usual(cls, model: str) -> Setting:
        """The point that every axis goes through."""
        return cls(model, BATCH[model], 28, WIDTH[model], "fp32")

    def changes(self) -> dict[str, Any]:
        """The options of `gentool train` that make it."""
        widths: dict[str, dict[str, Any]] = {
            "vae": {"hidden": [self.width], "latent_dim": LATENT},
            "gan": {"hidden": [self.width, 2 * self.width]},
        }
        width = widths.get(self.model, {"width": self.width})
        return {**width, "batch_size": self.batch, "precision": self.precision}


def settings(model: str, axis: str, precisions: list[str], quick: bool) -> Iterator[Setting]:
    """The points of an axis; of a quick one, the usual point and the smallest other."""
    values: dict[str, tuple[Any, ...]] = {
        "batch": (16, 32, 64, 128, 256, 512, 1024),
        "size": (28, 32, 48, 64),
        "width": WIDTHS[model],
        "precision": tuple(precisions),
    }
    usual = Setting.usual(model)
    chosen = values[axis]
    if quick:
        other = next((v for v in chosen if v != getattr(usual, axis)), None)
        chosen = tuple(v for v in chosen if v in (other, getattr(usual, axis)))
    for value in chosen:
        yield dataclasses.replace(usual, **{axis: value})


@functools.cache
def glyphs(size: int, n: int) -> Dataset:
    return load(DataOptions(data=f"glyphs:{n}", size=str(size)))


def plain_networks(model: Any) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator as example programs have them: layers in a row, NCHW."""
    twin = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    generator, judge = twin.generator, getattr(twin, "discriminator", None) or twin.critic
    if isinstance(generator, nn.Sequential):  # fully connected
        images = (nn.Tanh(), nn.Unflatten(1, twin.data.shape))
        return nn.Sequential(*generator, *images), nn.Sequential(nn.Flatten(), *judge)
    start = nn.Unflatten(1, (*twin.latent_shape, 1, 1))
    generator.first.__class__, judge.out.__class__ = nn.ConvTranspose2d, nn.Conv2d
    return (
        nn.Sequential(start, generator.first, *generator.body),
        nn.Sequential(*judge.body, judge.out, nn.Flatten(0)),
    )


def plain_loop(
    setting: Setting, model: Any, device: torch.device
) -> Callable[[Batches, int], object]:
    """The plain loop of `plain.py` on networks like those of `model`: (batches, steps) → None."""
    if setting.model == "vae":
        vae = VAE(model.data.size, setting.width, LATENT).to(device)
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        return lambda batches, steps: vae_epoch(vae, optimizer, batches, device)
    generator, judge = plain_networks(model)
    play = critic_epoch if setting.model == "wgan" else game_epoch
    adam = (
        torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    )

    def latent(n: int) -> torch.Tensor:
        return torch.randn(n, *model.latent_shape, device=device)

    return lambda batches, steps: play(generator, judge, batches, latent, adam, steps, device)


def measure(setting: Setting, device: torch.device, seconds: float, images: int) -> dict[str, Any]:
    """Milliseconds a step of both loops, medians of turns that alternate for so many seconds."""
    gc.collect()  # now, and not within a turn: the last point's networks are cycles
    dataset = glyphs(setting.size, images)
    ours = trainer(setting.model, dataset, device, **setting.changes())
    loop = plain_loop(setting, ours.model, device)
    # A round is the shortest piece in which every player has its turn.
    a_round, most = ours.players[0].player.steps, images // setting.batch

    def take(steps: int) -> None:
        for _ in range(steps):
            ours.take_step()

    def turn(steps: int) -> dict[str, float]:
        # Exactly as many batches as steps: the plain loop must not load one for nothing.
        rows = steps * setting.batch
        batches = loader(Split(dataset.train.x[:rows]), setting.batch)
        return {
            "plain": timed(lambda: loop(batches, steps), device),
            "gentool": timed(lambda: take(steps), device, ours=True),
        }

    for _ in range(WARM_UP[device.type]):
        turn(a_round)
    rounds = int(seconds / 10 / sum(turn(a_round).values()))
    steps = a_round * max(1, min(rounds, most // a_round))
    turns: list[dict[str, float]] = []
    began = time.perf_counter()
    while len(turns) < TURNS or time.perf_counter() - began < seconds:
        turns.append(turn(steps))
    return {
        name: 1000 * statistics.median(t[name] for t in turns) / steps
        for name in ("plain", "gentool")
    }


def rows_of(axis: str, setting: Setting, ms: dict[str, float]) -> Iterator[dict[str, Any]]:
    """A row of the CSV for each loop."""
    for name, value in ms.items():
        yield {
            "model": setting.model,
            "axis": axis,
            "value": getattr(setting, axis),
            "precision": "fp32" if name == "plain" else setting.precision,
            "loop": name,
            "ms_per_step": round(value, 4),
            "images_per_s": round(1000 * setting.batch / value, 1),
            "ratio": round(ms["plain"] / value, 3),
        }


def paired(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of one point: (plain, gentool)."""
    return zip(rows[::2], rows[1::2], strict=True)


def markdown(axis: str, rows: list[dict[str, Any]]) -> str:
    """The table of one axis."""
    head = ["model", NAMES.get(axis, axis), "plain ms a step", "gentool ms a step"]
    head += ["plain images/s", "gentool images/s", "× plain"]
    lines = [f"| {' | '.join(head)} |", "| --- " * 2 + "| ---: " * 5 + "|"]
    for plain, ours in paired(rows):
        lines.append(
            f"| {ours['model']} | {ours['value']} | {plain['ms_per_step']:.4g} "
            f"| {ours['ms_per_step']:.4g} | {plain['images_per_s']:,.0f} "
            f"| {ours['images_per_s']:,.0f} | {ours['ratio']:.2f} |"
        )
    return "\n".join(lines)


def save_plot(axis: str, rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """A column a model: images a second of both loops above, their ratio below."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(0.8 + 2.9 * len(models), 5), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(2, len(models), sharex="col", squeeze=False)
    for (above, below), model in zip(panels.T, models, strict=True):
        points = [(p, g) for p, g in paired(rows) if g["model"] == model]
        x = [g["value"] for _, g in points]
        above.plot(x, [g["images_per_s"] for _, g in points], "o-", markersize=3, label="gentool")
        above.plot(x, [p["images_per_s"] for p, _ in points], "s--", markersize=3, label="plain")
        above.set_title(model, fontsize=10)
        rates = [row["images_per_s"] for pair in points for row in pair]
        ticks = around(min(rates), max(rates))
        above.set_yscale("log")
        mark(above.yaxis, ticks)
        above.set_ylim(0.9 * ticks[0], 1.1 * ticks[-1])
        ratios = [g["ratio"] for _, g in points]
        below.axhline(1, color="C1", linestyle="--", linewidth=1.5)
        below.plot(x, ratios, "o-", markersize=3)
        for place, ratio in zip(x, ratios, strict=True):
            spot = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            below.annotate(f"{ratio:.2f}", (place, ratio), fontsize=7, **spot)
        unit = UNITS.get(model, "channels at the image's end")
        below.set_xlabel(unit if axis == "width" else NAMES[axis], fontsize=8)
        for panel in (above, below):
            panel.set_xscale("log")
            mark(panel.xaxis, x)
            panel.margins(x=0.08)
            panel.tick_params(labelsize=8)
            panel.grid(alpha=0.3)
    panels[0, 0].set_ylabel("images/s", fontsize=8)
    panels[0, 0].legend(fontsize=8)
    panels[1, 0].set_ylabel("gentool ÷ plain", fontsize=8)
    for below in panels[1]:  # alike, so that models can be compared
        below.set_ylim(0, 1.15 * max(row["ratio"] for row in rows))
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def mark(axis: Axis, ticks: list[int]) -> None:
    """Ticks there, in plain numbers, and nowhere else."""
    axis.set_ticks(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def around(low: float, high: float) -> list[int]:
    """Round numbers 1, 2, 5, 10, … from the last below `low` to the first above `high`."""
    steps = [m * 10**k for k in range(9) for m in (1, 2, 5)]
    first = max(i for i, s in enumerate(steps) if s <= max(1, low))
    last = next(i for i, s in enumerate(steps) if s >= high)
    return steps[first : last + 1]


def write_csv(path: Path, rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """One line a row, with the environment repeated in each, so that files can be joined."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *facts])
        writer.writeheader()
        writer.writerows({**row, **facts} for row in rows)


def results_folder(device: torch.device, name: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") if device.type == "cuda" else "cpu"
    return Path(__file__).resolve().parent / "results" / slug


def arguments() -> argparse.Namespace:
    axes = ["batch", "size", "width", "precision"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(WIDTH), default=list(WIDTH))
    parser.add_argument("--axes", nargs="+", choices=axes, default=axes)
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=["fp32", "bf16", "fp16"],
        default=["fp32", "bf16"],
        help="gentool's, along that axis",
    )
    parser.add_argument("--seconds", type=float, help="for each point; 4, or 0.5 with --quick")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="two points an axis")
    parser.add_argument("--out", type=Path, help="folder for sweep.csv and the plots")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    facts = bench.environment(device.type)
    out = given.out or results_folder(device, facts["device"])
    out.mkdir(parents=True, exist_ok=True)
    seconds = given.seconds or (0.5 if given.quick else 4.0)
    images = FEW if given.quick else IMAGES
    timings = functools.cache(lambda s: measure(s, device, seconds, images))
    everything: list[dict[str, Any]] = []
    for axis in given.axes:
        rows: list[dict[str, Any]] = []
        for model in given.models:
            for setting in settings(model, axis, given.precision, given.quick):
                rows += rows_of(axis, setting, timings(setting))
                print(f"{model} {axis} {rows[-1]['value']}: {rows[-1]['ratio']}×", file=sys.stderr)
        print(f"\n{markdown(axis, rows)}", flush=True)
        everything += rows
        if axis != "precision":
            kernels = "native kernels" if facts["native"] else "no native kernels"
            title = f"{facts['device']}, threads: {facts['threads']}, {kernels}, fp32"
            save_plot(axis, rows, title, out / f"sweep_{axis}.png")
        write_csv(out / "sweep.csv", everything, facts)


if __name__ == "__main__":
    main()
