"""Training speed: gentool's loop against plain eager loops, in one process, alternating.

    python benchmarks/train_speed.py --data ../shared/data/mnist            all models
    python benchmarks/train_speed.py --data ../shared/data/mnist --models vae --epochs 3
    python benchmarks/train_speed.py --quick                                built-in data, seconds

Images a second are medians over the epochs (VAE) or rounds (games); the VAE's test loss is
computed alike for both. `--device cuda` runs both on the GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plain import VAE, critic_epoch, game_epoch, loader, vae_epoch
from torch import nn

from gentool import ops
from gentool.data import DataOptions, load
from gentool.data.dataset import Dataset
from gentool.devices import keep_freed_memory
from gentool.matmul import choose_matmul, leave_matmul_to_torch
from gentool.runs import Run
from gentool.train.batches import as_tensor
from gentool.train.distributed import World
from gentool.train.job import from_options, make_model
from gentool.train.loop import Trainer
from gentool.train.session import Session

ROUNDS = {"gan": 200, "dcgan": 20, "wgan": 20}
BATCH = {"vae": 128, "gan": 128, "dcgan": 64, "wgan": 64}


def trainer(
    name: str,
    dataset: Dataset,
    device: torch.device,
    world: World | None = None,
    **changes: Any,
) -> Trainer:
    """gentool's own loop for a model, as `gentool train` makes it."""
    values = {"epochs": 1000, "sample_every": 0, "batch_size": BATCH[name], **changes}
    job = from_options(name, values)
    model = make_model(job, dataset).to(device)
    session = Session(job, world or World(device), dataset, model, None)
    run = Run(Path(tempfile.mkdtemp()))
    made, _ = session.trainer(run, run.folder())
    return made


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], Any], device: torch.device, ours: bool = False) -> float:
    """Seconds that `work` takes; `ours` multiplies matrices as `gentool train` does."""
    if ours:
        choose_matmul(device)
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    seconds = time.perf_counter() - began
    leave_matmul_to_torch()
    return seconds


@torch.no_grad()
def start_alike(plain: nn.Module, ours: nn.Module) -> None:
    """Give gentool's VAE the plain one's first weights: its own start better, at the mean image."""
    linears = ([m for m in v.modules() if isinstance(m, nn.Linear)] for v in (plain, ours))
    for source, target in zip(*linears, strict=True):
        assert source.weight.shape == target.weight.shape
        target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)


def compare_vae(
    dataset: Dataset, device: torch.device, epochs: int, precision: str
) -> dict[str, Any]:
    """Images a second and test loss after the same number of epochs; the plain loop is in fp32."""
    n = len(dataset.train)
    torch.manual_seed(1)
    plain = VAE(dataset.spec.size, 400, 20).to(device)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    batches = loader(dataset.train, BATCH["vae"])
    own = {"hidden": [400], "latent_dim": 20}
    ours = trainer("vae", dataset, device, **own, seed=1, precision=precision)
    start_alike(plain, ours.model)
    seconds: dict[str, list[float]] = {"plain": [], "gentool": []}

    def epoch() -> None:
        for _ in range(ours.loader.per_epoch):
            ours.take_step()

    def plain_epoch() -> None:
        vae_epoch(plain, optimizer, batches, device)

    for _ in range(epochs):
        seconds["plain"].append(timed(plain_epoch, device))
        seconds["gentool"].append(timed(epoch, device, ours=True))
    plain.eval()
    with torch.no_grad():
        x = torch.true_divide(as_tensor(dataset.test.x), 255).to(device)
        parts = [plain.loss(part).item() for part in x.split(1000)]
    test = ours.evaluate()
    assert test is not None
    rates = {k: n / statistics.median(v) for k, v in seconds.items()}
    return {
        **summary(rates),
        "epochs": epochs,
        "precision": precision,
        "graphs": graphs(ours),
        "seconds_an_epoch": {k: round(statistics.median(v), 3) for k, v in seconds.items()},
        "test_loss": {"plain": sum(parts) / len(x), "gentool": test["neg_elbo"]},
    }


def compare_game(
    name: str, dataset: Dataset, device: torch.device, repeats: int, precision: str
) -> dict[str, Any]:
    """Images a second of a game of two, on copies of the same networks."""
    ours = trainer(name, dataset, device, precision=precision)
    twin: Any = trainer(name, dataset, device).model.to(memory_format=torch.contiguous_format)
    critic = getattr(twin, "discriminator", None) or twin.critic
    latent = twin.latent_shape

    def players(module: nn.Module) -> Callable[..., torch.Tensor]:
        plain = isinstance(module, nn.Sequential)
        return lambda x: module(x.flatten(1)) if plain else module(x, None)

    generator: Callable[..., torch.Tensor] = players(twin.generator)
    if isinstance(twin.generator, nn.Sequential):
        generator = lambda z: torch.tanh(twin.generator(z)).view(-1, *dataset.spec.shape)  # noqa: E731
    adam = (
        torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        torch.optim.Adam(twin.generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    )
    steps = min(ROUNDS[name], ours.loader.per_epoch)
    batches = loader(dataset.train, BATCH[name])
    play = critic_epoch if hasattr(twin, "critic") else game_epoch
    seconds: dict[str, list[float]] = {"plain": [], "gentool": []}

    def plain() -> None:
        play(
            generator,  # type: ignore[arg-type]
            players(critic),  # type: ignore[arg-type]
            batches,
            lambda n: torch.randn(n, *latent, device=device),
            adam,
            steps,
            device,
        )

    def gentool() -> None:
        for _ in range(steps):
            ours.take_step()

    for i in range(repeats + 1):
        first, second = timed(plain, device), timed(gentool, device, ours=True)
        if i:  # the first is warm-up
            seconds["plain"].append(first)
            seconds["gentool"].append(second)
    images = steps * BATCH[name]
    rates = {k: images / statistics.median(v) for k, v in seconds.items()}
    return {
        **summary(rates),
        "steps": steps,
        "repeats": repeats,
        "precision": precision,
        "graphs": graphs(ours),
    }


def graphs(ours: Trainer) -> dict[str, str]:
    """How each player's updates ran: captured as a CUDA graph, or why not."""
    return {s.player.name: s.captured.state if s.captured else "none" for s in ours.players}


def summary(rates: dict[str, float]) -> dict[str, Any]:
    return {
        "images_per_s": {k: round(v, 1) for k, v in rates.items()},
        "ratio": round(rates["gentool"] / rates["plain"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--models", nargs="+", default=["vae", "gan", "dcgan", "wgan"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", default=None, help="image size, e.g. 64")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # as `gentool train` does; within one process both loops profit
    device = torch.device(given.device)
    data = DataOptions(data="glyphs:4000" if given.quick else given.data, size=given.size)
    dataset = load(data)
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": given.threads,
        "device": str(device),
        "kernels": "native" if ops.native.serves(device.type) else "reference",
        "data": dataset.name,
        "shape": list(dataset.spec.shape),
    }
    for name in given.models:
        if name == "vae":
            found = compare_vae(
                dataset, device, 1 if given.quick else given.epochs, given.precision
            )
        else:
            repeats = 1 if given.quick else given.repeats
            found = compare_game(name, dataset, device, repeats, given.precision)
        result[name] = found
        print(f"{name}: {json.dumps(found)}", flush=True)
        if given.json:  # as they come: a run may be cut short
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
