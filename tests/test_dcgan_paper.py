"""The networks of the DCGAN authors' code: sizes, counts, and borders as in TensorFlow's "SAME"."""

from __future__ import annotations

import pytest
import torch
from games import batch, check_moves
from torch import nn
from torch.nn import functional as F

from gentool.model import parameter_count
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN
from gentool_dcgan.paper import before, doubled, halved

STACKED = DataSpec("image", (3, 28, 28))
IMAGE = DataSpec("image", (1, 16, 16), ("a", "b", "c"))


def small(data: DataSpec = IMAGE, **options: object) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(DCGANConfig(**{"net": "paper", "width": 2, "latent_dim": 5, **options}), data)  # type: ignore[arg-type]


def test_stacked_digits_have_the_published_networks() -> None:
    """100 → 512·2² → 256·4² → 128·7² → 64·14² → 3·28², 5×5 kernels and biases, and back."""
    assert halved(28, 28) == [(28, 28), (14, 14), (7, 7), (4, 4), (2, 2)]
    assert halved(64, 64)[-1] == (4, 4)
    with torch.device("meta"):
        game = small(STACKED, width=64, latent_dim=100)
    kernels = 25 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    count = 101 * 2048 + kernels + 256 + 128 + 64 + 3 + 2 * (512 + 256 + 128 + 64)
    assert parameter_count(game.generator) == count
    count = kernels + 64 + 128 + 256 + 512 + 2 * (128 + 256 + 512) + 2048 + 1
    assert parameter_count(game.discriminator) == count
    u = game.generator(torch.empty(2, 100, device="meta"), None)
    assert u.shape == (2, 3, 28, 28) and game.discriminator(u, None).shape == (2,)


@pytest.mark.parametrize("side", [7, 8, 13, 14])
def test_borders_are_those_of_same_padding(side: int) -> None:
    """⌈side/2⌉ places, with as many zeros as they need, an odd one behind."""
    out = -(-side // 2)
    needed = (out - 1) * 2 + 5 - side
    assert before(side) == needed // 2 and needed - needed // 2 == 2
    x, y = torch.randn(1, 1, side, side), torch.randn(1, 1, out, out)
    conv, back = nn.Conv2d(1, 1, 5, 2, bias=False), nn.ConvTranspose2d(1, 1, 5, 2, bias=False)
    back.weight.data.copy_(conv.weight.data)
    left = before(side)
    there = conv(F.pad(x, (left, 2, left, 2)))
    assert there.shape == y.shape
    # One is the other's transpose: ⟨Ax, y⟩ = ⟨x, Aᵀy⟩.
    torch.testing.assert_close((there * y).sum(), (x * doubled(y, back, (side, side))).sum())


def test_both_players_learn_with_labels_and_in_packs() -> None:
    check_moves(small(), batch(IMAGE))
    told = small(conditional=True).generator
    z, labels = torch.randn(4, 5), torch.zeros(4, dtype=torch.int64)
    assert not torch.allclose(told(z, labels), told(z, labels + torch.tensor([0, 0, 1, 2])))
    packs = small(pack=3, conditional=True)
    data = batch(IMAGE)
    assert packs.discriminator(data.x, data.labels).shape == (2,)
    assert [p.steps for p in small(g_steps=2).players()] == [1, 2]
    free = small(r1=1.0).discriminator
    assert not [m for m in free.modules() if isinstance(m, nn.BatchNorm2d)]
