"""The ResNets of SNGAN and WGAN-GP: the published shapes, any size, and games that play on them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from games import batch, step
from torch import nn
from torch.nn import functional as F

from gentool.model import parameter_count
from gentool.nn import ResDiscriminator, ResGenerator
from gentool.nn.residual import DownBlock, UpBlock
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN
from gentool_wgan import WGANConfig
from gentool_wgan.model import WGAN

Cli = Callable[..., Any]
IMAGE = DataSpec("image", (1, 16, 16), ("a", "b", "c"))

PUBLISHED = {
    32: (4, [256] * 4, [128] * 4, 2),
    48: (6, [512, 256, 128, 64], [64, 128, 256, 512, 1024], 4),
    64: (4, [1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024], 5),
}
"""By side: the first size, channels of both networks, and how often the discriminator halves."""


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


@pytest.mark.parametrize("side", PUBLISHED)
def test_published_sizes_have_the_published_networks(side: int) -> None:
    first, ups, downs, halvings = PUBLISHED[side]
    with torch.device("meta"):
        generator = ResGenerator((3, side, side), 128, 0, 64)
        critic = ResDiscriminator((3, side, side), 0, 64)
    count = 128 * first**2 * ups[0] + 2 * ups[-1] + conv(ups[-1], 3, 3)
    for a, b in pairwise(ups):
        count += 2 * a + 2 * b + conv(a, b, 3) + conv(b, b, 3) + conv(a, b, 1)
    assert parameter_count(generator) == count
    count = conv(3, downs[0], 3) + conv(downs[0], downs[0], 3) + conv(3, downs[0], 1)
    for i, (a, b) in enumerate(pairwise(downs)):
        count += conv(a, a, 3) + conv(a, b, 3)
        count += conv(a, b, 1) if a != b or i + 1 < halvings else 0
    assert parameter_count(critic) == count + downs[-1] + 1
    seen = critic.body(torch.empty(1, 3, side, side, device="meta"))
    assert seen.shape[2:] == (side // 2**halvings,) * 2


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 25, 39), (3, 8, 8), (1, 96, 50)])
def test_any_size_fits(shape: tuple[int, int, int]) -> None:
    generator, critic = ResGenerator(shape, 5, 3, 1), ResDiscriminator(shape, 3, 1, pack=2)
    labels = torch.tensor([0, 2, 1, 0])
    u = generator(torch.randn(4, 5), labels)
    assert u.shape == (4, *shape) and u.abs().max() < 1
    assert critic(u, labels).shape == (2,)


def test_blocks_are_those_of_the_paper() -> None:
    """In the paper's order: the shortcut doubles, then convolves; it convolves, then halves."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6)
    up = UpBlock(3, 5, (12, 12)).eval()
    h = F.interpolate(F.relu(up.norm1(x)), scale_factor=2)
    h = up.conv2(F.relu(up.norm2(up.conv1(h))))
    torch.testing.assert_close(up(x), h + up.shortcut(F.interpolate(x, scale_factor=2)))
    down = DownBlock(3, 5, True)
    h = F.avg_pool2d(down.conv2(F.relu(down.conv1(F.relu(x)))), 2)
    torch.testing.assert_close(down(x), h + F.avg_pool2d(down.shortcut(x), 2))
    flat = DownBlock(3, 3, False)
    assert isinstance(flat.shortcut, nn.Identity)


def test_defaults_are_those_of_sngan_and_of_wgan_gp() -> None:
    game = DCGAN(DCGANConfig(net="resnet", width=2), IMAGE)
    judge, forger = game.players()
    assert (judge.steps, forger.steps) == (5, 1)
    assert judge.optimizer.lr == 2e-4 and judge.optimizer.arguments["betas"] == (0.0, 0.9)
    assert DCGANConfig().betas == (0.5, 0.999) and DCGANConfig(beta1=0.3).betas == (0.3, 0.999)
    critic = WGAN(WGANConfig(net="resnet", width=2), IMAGE).players()[0]
    assert critic.steps == 5 and critic.optimizer.lr == 2e-4
    assert critic.optimizer.arguments["betas"] == (0.0, 0.9)
    with pytest.raises(ValueError, match="--net resnet is for images"):
        WGAN(WGANConfig(net="resnet"), DataSpec("points", (2,)))


def test_the_discriminator_has_spectral_norm_unless_a_penalty_holds_it() -> None:
    torch.manual_seed(0)
    game = DCGAN(DCGANConfig(net="resnet", width=2), IMAGE).train()
    for _ in range(60):  # each look is a step of the power method
        game.score(torch.rand(2, 1, 16, 16))
    layers = [m for m in game.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11  # 3 of the first block, 3, 2, 2, and the linear one
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=0.02)
    free = DCGAN(DCGANConfig(net="resnet", width=2, r1=1.0), IMAGE).discriminator
    assert not [name for name in free.state_dict() if "parametrizations" in name]


@pytest.mark.parametrize("kind", ["dcgan", "wgan"])
def test_both_players_learn(kind: str) -> None:
    torch.manual_seed(0)
    game: Any
    if kind == "dcgan":
        game = DCGAN(DCGANConfig(net="resnet", width=2, objective="hinge"), IMAGE)
    else:
        game = WGAN(WGANConfig(net="resnet", width=2), IMAGE)
    for player in game.players():
        game.zero_grad()
        player.objective(batch(IMAGE), step()).loss.backward()
        for name, p in player.module.named_parameters():
            assert p.grad is not None and p.grad.isfinite().all(), name
        assert any(p.grad.abs().sum() > 0 for p in player.module.parameters())
