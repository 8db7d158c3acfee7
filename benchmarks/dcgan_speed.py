"""Images a second of the DCGAN at 64×64: gentool's trainer against a plain eager loop.

    python benchmarks/dcgan_speed.py

Both train the same networks, those of Radford et al. at nz = 100, ngf = ndf = 64, batch 64, Adam
2e-4 (0.5, 0.999), on random images. The plain loop is how a DCGAN is usually written: NCHW,
float32, one generated batch a round for both players, and gradients of the discriminator's
weights computed in the generator's turn too, to be thrown away. The variants alternate within
one process and the medians of the rounds are reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gentool.model import Batch
from gentool.spec import DataSpec
from gentool.train.batches import Draw
from gentool.train.distributed import World
from gentool.train.player import PlayerState, freeze_all_but
from gentool.train.settings import TrainSettings
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN

RESULTS = Path(__file__).parent / "results" / "dcgan_speed.json"
SHAPE, LATENT, WIDTH = (3, 64, 64), 100, 64


def plain_networks() -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, written out for NCHW."""
    w, args = WIDTH, {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}
    up: list[nn.Module] = [nn.ConvTranspose2d(LATENT, 8 * w, 4, bias=False)]
    for more, less in ((8, 4), (4, 2), (2, 1)):
        up += [
            nn.BatchNorm2d(more * w),
            nn.ReLU(True),
            nn.ConvTranspose2d(more * w, less * w, **args),
        ]
    up += [nn.BatchNorm2d(w), nn.ReLU(True), nn.ConvTranspose2d(w, 3, **args), nn.Tanh()]
    down: list[nn.Module] = [nn.Conv2d(3, w, **args), nn.LeakyReLU(0.2, True)]
    for less, more in ((1, 2), (2, 4), (4, 8)):
        down += [nn.Conv2d(less * w, more * w, **args), nn.BatchNorm2d(more * w)]
        down.append(nn.LeakyReLU(0.2, True))
    return nn.Sequential(*up), nn.Sequential(
        *down, nn.Conv2d(8 * w, 1, 4, bias=False), nn.Flatten(0)
    )


def plain_loop() -> Callable[[Tensor], None]:
    """One round of the usual eager loop."""
    generator, discriminator = plain_networks()
    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
    optimizer_d = torch.optim.Adam(discriminator.parameters(), **adam)
    optimizer_g = torch.optim.Adam(generator.parameters(), **adam)

    def turn(x: Tensor) -> None:
        n = len(x)
        one, zero = torch.ones(n), torch.zeros(n)
        discriminator.zero_grad()
        binary_cross_entropy_with_logits(discriminator(2 * x - 1), one).backward()
        fake = generator(torch.randn(n, LATENT, 1, 1))
        binary_cross_entropy_with_logits(discriminator(fake.detach()), zero).backward()
        optimizer_d.step()
        generator.zero_grad()
        binary_cross_entropy_with_logits(discriminator(fake), one).backward()
        optimizer_g.step()

    return turn


def gentool_loop(precision: str) -> Callable[[Tensor], None]:
    """One round of gentool's players."""
    model = DCGAN(DCGANConfig(latent_dim=LATENT, width=WIDTH), DataSpec("image", SHAPE))
    settings = TrainSettings(precision=precision)  # type: ignore[arg-type]
    world = World(torch.device("cpu"))
    states = [PlayerState(p, settings, world, 10**6) for p in model.players()]

    def turn(x: Tensor) -> None:
        for state in states:
            freeze_all_but(states, state)
            state.update(Draw(Batch(x), 0, len(x)))

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor seconds, for one thread on a machine that others use too",
    )
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.manual_seed(0)
    x = torch.rand(options.batch, *SHAPE)
    turns = {
        "plain eager loop, fp32": plain_loop(),
        "gentool, fp32": gentool_loop("fp32"),
        "gentool, bf16": gentool_loop("bf16"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():  # warm up
        turn(x)
    for _ in range(options.rounds):
        for name, turn in turns.items():
            began = clock()
            turn(x)
            seconds[name].append(clock() - began)
    rates = {k: round(options.batch / statistics.median(v), 1) for k, v in seconds.items()}
    base = rates["plain eager loop, fp32"]
    for name, rate in rates.items():
        print(f"{name:<24}{rate:>8.1f} images/s{rate / base:>7.2f}×")
    options.json.parent.mkdir(exist_ok=True)
    facts = {"torch": torch.__version__, "threads": options.threads, "batch": options.batch}
    facts |= {"rounds": options.rounds, "clock": options.clock}
    result = {**facts, "images_per_s": rates}
    options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
