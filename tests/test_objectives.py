"""Relativistic games and zero-centred penalties: formulas, second derivatives, bf16, processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from games import batch, step
from test_distributed import launch
from torch import Tensor, nn

from gentool.nn import zero_centred_penalty
from gentool.spec import DataSpec
from gentool.weights import read_tensors
from gentool_dcgan import DCGANConfig
from gentool_dcgan import objectives as of_dcgan
from gentool_dcgan.model import DCGAN
from gentool_gan import GANConfig
from gentool_gan import objectives as of_gan
from gentool_gan.model import GAN

Cli = Callable[..., Any]
IMAGE = DataSpec("image", (1, 16, 16))
REAL, FAKE = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([0.1, 0.7, -0.4])


@pytest.mark.parametrize("module", [of_gan, of_dcgan])
def test_objectives_are_what_their_papers_say(module: Any) -> None:
    def log_sigmoid(v: Tensor) -> Tensor:
        return torch.log(1 / (1 + torch.exp(-v)))

    r, f = REAL, FAKE
    wanted = {
        "non-saturating": (-(log_sigmoid(r) + log_sigmoid(-f)).mean(), -log_sigmoid(f).mean()),
        "hinge": ((1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), -f.mean()),
        "least-squares": (((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2, ((f - 1) ** 2).mean() / 2),
        "relativistic": (-log_sigmoid(r - f).mean(), -log_sigmoid(f - r).mean()),
    }
    for name, (judge, forger) in wanted.items():
        torch.testing.assert_close(module.discriminator_loss(name, r, f), judge)
        torch.testing.assert_close(module.generator_loss(name, f, r), forger)
    found = module.standing("relativistic", r, f)
    assert found["d_accuracy"].item() == pytest.approx(2 / 3)
    assert found["d_real"].item() == pytest.approx(1 - found["d_fake"].item())


def test_the_penalty_and_its_derivative_in_closed_form() -> None:
    """D(x) = ½ xᵀAx has ∇D = Ax for a symmetric A, and E‖Ax‖² the derivative 2·E (Ax)xᵀ."""
    torch.manual_seed(0)
    a = torch.randn(4, 4, dtype=torch.float64)
    a = (a + a.T).requires_grad_()
    x = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    values = ((x @ (a + a.T) / 2) * x).sum(1) / 2
    penalty = zero_centred_penalty(values, x)
    gradient = x @ a
    torch.testing.assert_close(penalty, gradient.square().sum(1).mean())
    (got,) = torch.autograd.grad(penalty, a)
    wanted = 2 * gradient.T @ x / 7
    torch.testing.assert_close(got, ((wanted + wanted.T) / 2).detach())


@pytest.mark.parametrize("sort", ["gan", "dcgan"])
def test_the_players_minimise_loss_and_penalties(sort: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"objective": "relativistic", "r1": 0.6, "r2": 0.2}
    game: Any
    if sort == "gan":
        game = GAN(GANConfig(**options, hidden=(8,)), IMAGE).double()
    else:
        game = DCGAN(DCGANConfig(**options, width=4), IMAGE).double()
        assert not [m for m in game.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    data = batch(IMAGE, dtype=torch.float64)
    objective = game.discriminator_objective(data, step())
    with torch.no_grad():
        fake = game.fake(data, step())

    def judge(u: Tensor) -> Tensor:
        values: Tensor = (
            game.discriminate(u, None) if sort == "gan" else game.discriminator(u, None)
        )
        return values

    real = 2 * data.x - 1
    loss = nn.functional.softplus(judge(fake) - judge(real)).mean()
    for weight, u in ((0.6, real), (0.2, fake)):
        slopes = torch.autograd.functional.jacobian(lambda v: judge(v).sum(), u)
        loss = loss + weight / 2 * slopes.flatten(1).square().sum(1).mean()
    torch.testing.assert_close(objective.loss, loss)
    expected = nn.functional.softplus(judge(real) - judge(fake)).mean()
    torch.testing.assert_close(game.generator_objective(data, step()).loss, expected)


def test_each_player_has_its_learning_rate() -> None:
    rates = {"lr": 1e-3, "lr_d": 4e-4}
    for game in (GAN(GANConfig(**rates), IMAGE), DCGAN(DCGANConfig(**rates, width=4), IMAGE)):
        assert [p.optimizer.lr for p in game.players()] == [4e-4, 1e-3]


def test_it_trains_in_bf16(cli: Cli, tmp_path: Path) -> None:
    options = ("--objective", "relativistic", "--r1", 1, "--r2", 1, "--width", 4)
    more = ("--data", "glyphs:64", "--batch-size", 16, "--threads", 1, "--precision", "bf16")
    assert cli("train", "dcgan", *options, *more, "--steps", 3, "--out", "run").code == 0
    tensors = read_tensors(tmp_path / "run" / "model.safetensors")
    assert all(t.isfinite().all() for t in tensors.values())


WORKER = """
import sys
from pathlib import Path
import torch
from gentool.data import DataOptions, load
from gentool.train import distributed
from gentool.train.loop import Trainer
from gentool.train.settings import TrainSettings
from gentool.weights import save_tensors
from gentool_gan import GANConfig, gentool_model
from gentool_gan.model import GAN

folder = Path(sys.argv[1])
torch.set_num_threads(1)
world = distributed.join(torch.device("cpu"))
data = load(DataOptions(data="ring:64", holdout=0.0, cache=str(folder / f"cache{world.rank}")))
torch.manual_seed(0)
model = GAN(GANConfig(objective="relativistic", r1=0.5, r2=0.5, hidden=(8, 8)), data.spec).double()
wanted = TrainSettings(steps=4, batch_size=16, sample_every=0)
made = Trainer(model, gentool_model(), data, wanted, world)
made.loader.x = made.loader.x.double()
for _ in range(4):
    made.take_step()
save_tensors(folder / f"rank{world.rank}of{world.size}.safetensors", model.state_dict())
world.barrier()
distributed.leave()
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    done: list[subprocess.CompletedProcess[str]] = []
    for size in (1, 2):
        done += launch(WORKER, size, tmp_path)
    assert [p.returncode for p in done] == [0] * 3, [p.stderr for p in done]
    alone = read_tensors(tmp_path / "rank0of1.safetensors")
    for rank in (0, 1):
        for name, tensor in read_tensors(tmp_path / f"rank{rank}of2.safetensors").items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-9, atol=1e-12)
