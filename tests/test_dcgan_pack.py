"""The DCGAN's discriminator of packs (Lin et al. 2018), against packs made by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from conftest import Result
from games import batch, check_conditional, check_moves, check_sampling, step
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import softplus

from gentool.model import parameter_count
from gentool.nn import pack_heads, packed
from gentool.spec import DataSpec
from gentool.testing import check_model
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN
from gentool_dcgan.networks import Generator, initialize_

IMAGE = DataSpec("image", (3, 16, 16), ("a", "b", "c"))


def small(data: DataSpec = IMAGE, **options: object) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(dataclasses.replace(DCGANConfig(latent_dim=5, width=4), **options), data)  # type: ignore[arg-type]


def test_packs_are_channels_side_by_side() -> None:
    x = torch.randn(5, 3, 4, 2)
    assert packed(x, 1) is x
    packs = packed(x, 2)
    assert packs.shape == (3, 6, 4, 2)
    for k, (i, j) in enumerate([(0, 1), (2, 3), (4, 0)]):
        assert torch.equal(packs[k, :3], x[i]) and torch.equal(packs[k, 3:], x[j])
    assert torch.equal(packed(x.contiguous(memory_format=torch.channels_last), 2), packs)
    assert torch.equal(packed(x[:1], 3), x[:1].repeat(1, 3, 1, 1))


def test_every_example_heads_a_pack_of_others() -> None:
    cpu = torch.device("cpu")
    assert pack_heads(6, 3, cpu).view(6, 3).tolist()[:2] == [[0, 2, 4], [1, 3, 5]]
    for n, m in ((7, 2), (5, 5), (4, 1), (8, 3)):
        rows = pack_heads(n, m, cpu).view(n, m)
        assert rows[:, 0].tolist() == list(range(n))
        assert all(len(set(row)) == m for row in rows.tolist())
    assert pack_heads(1, 4, cpu).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("conditional", [False, True])
def test_a_pack_of_one_is_the_discriminator_of_old(conditional: bool) -> None:
    """Its first weights bit for bit, and its logits, from layers made by hand."""
    model = small(conditional=conditional)
    d, classes = model.discriminator, 3 if conditional else 0
    torch.manual_seed(0)
    Generator(IMAGE.shape, 5, classes, 4)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
    )
    out = nn.Conv2d(8, 1 + classes, 4, bias=False)
    by_hand = nn.ModuleDict({"body": body, "out": out})
    initialize_(by_hand)
    for name, tensor in d.state_dict().items():
        assert torch.equal(by_hand.state_dict()[name], tensor), name
    x, labels = batch(IMAGE).x, torch.tensor([0, 1, 2, 0, 1, 2])
    logits = out(body((2 * x - 1).contiguous(memory_format=torch.channels_last))).flatten(1)
    expected = logits[:, 0]
    if conditional:
        expected = expected + (logits[:, 1:] * nn.functional.one_hot(labels, 3)).sum(1)
    torch.testing.assert_close(d(2 * x - 1, labels), expected)
    torch.testing.assert_close(model.score(x, labels), expected)


@pytest.mark.parametrize("m", [2, 3])
def test_the_discriminator_sees_packs(m: int) -> None:
    """Its logits are those of the bare layers on packs made by hand; only its ends are wider."""
    model = small(pack=m, conditional=True)
    x, labels = batch(IMAGE).x, torch.tensor([2, 1, 0, 0, 1, 2])
    packs = torch.stack([torch.cat(list(x[k : k + m])) for k in range(0, 6, m)])
    d = model.discriminator
    every = d.out(d.body(packs)).flatten(1)  # a, then b for each class, place after place
    for k in range(6 // m):
        places = [1 + 3 * j + int(labels[m * k + j]) for j in range(m)]
        expected = every[k, 0] + every[k, places].sum()
        torch.testing.assert_close(d(x, labels)[k], expected)
    extra = (m - 1) * 16 * 3 * 4 + (m - 1) * 3 * 8 * 16  # first and last layer
    more = parameter_count(d) - parameter_count(small(conditional=True).discriminator)
    assert more == extra
    assert parameter_count(model.generator) == parameter_count(small(conditional=True).generator)


def test_objectives_are_the_cross_entropy_of_packs() -> None:
    model, data = small(pack=2).double().train(), batch(IMAGE, dtype=torch.float64)
    z = step().noise.normal("z", (6, 5)).double()
    fake = model.generator(z, None).detach()
    d = nn.Sequential(model.discriminator.body, model.discriminator.out, nn.Flatten(0))
    real, forged = (d(torch.cat([u[0::2], u[1::2]], dim=1)) for u in (2 * data.x - 1, fake))
    assert real.shape == (3,)
    ones, zeros = torch.ones(3).double(), torch.zeros(3).double()
    objective = model.discriminator_objective(data, step())
    torch.testing.assert_close(
        objective.loss, cross_entropy(real, ones) + cross_entropy(forged, zeros)
    )
    loss = model.generator_objective(data, step()).loss
    torch.testing.assert_close(loss, cross_entropy(forged, ones))


def test_score_is_of_the_pack_that_an_example_heads() -> None:
    model = small(pack=2, conditional=True).eval()
    x, labels = batch(IMAGE).x, torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        scores = model.score(x, labels)
        for i in range(6):
            pair = [i, (i + 3) % 6]
            torch.testing.assert_close(
                scores[i], model.discriminator(2 * x[pair] - 1, labels[pair])[0]
            )


def test_packs_tell_a_collapsed_generator_from_the_data() -> None:
    """What packing is for: each image alone may be real, and only pairs betray the generator.

    Half the data is black and half white, and so are the forgeries, but their pairs are equal.
    Nothing can be told from one: 2 log 2 = 1.386. From two, D = 1/3 on equal pairs and 1 on
    others: ½ log 3 + log 3/2 = 0.955, or 1.215 where D knows equal whites and not equal blacks.
    """
    losses = {}
    every_pair, equal_pairs = [0, 0, 0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    shades = [2 * torch.tensor(pairs).float() - 1 for pairs in (every_pair, equal_pairs)]
    real, fake = (shade.view(8, 1, 1, 1).expand(8, 1, 8, 8) for shade in shades)
    for m in (1, 2):
        d = small(DataSpec("image", (1, 8, 8)), pack=m).discriminator.eval()
        optimizer = torch.optim.Adam(d.parameters(), 0.02)
        for _ in range(60):
            loss = softplus(-d(real, None)).mean() + softplus(d(fake, None)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[m] = loss.item()
    assert losses[1] == pytest.approx(2 * math.log(2), abs=0.01)
    assert 0.5 * math.log(3) + math.log(1.5) - 1e-3 < losses[2] < 1.25


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("conditional", [False, True])
def test_batches_that_packs_do_not_divide(n: int, conditional: bool) -> None:
    model, data = small(pack=3, conditional=conditional).train(), batch(IMAGE, n)
    for player in model.players():
        objective = player.objective(data, step())
        objective.loss.backward()
        assert torch.isfinite(objective.loss)
    assert model.eval().score(data.x, data.labels if conditional else None).shape == (n,)


@pytest.mark.parametrize("options", [{}, {"conditional": True}, {"spectral_norm": True}])
def test_each_player_moves_only_its_own_weights(options: dict[str, bool]) -> None:
    check_moves(small(pack=2, **options), batch(IMAGE))


def test_sampling_and_classes() -> None:
    check_sampling(small(DataSpec("image", (1, 17, 23)), pack=4))
    check_conditional(small(pack=2, conditional=True))
    with torch.autocast("cpu", torch.bfloat16):
        losses = [p.objective(batch(IMAGE, 4), step()).loss for p in small(pack=2).players()]
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("pack", [2, 3])
def test_a_model_of_packs_conforms(pack: int) -> None:
    """Two shares of four are the packs of two of the whole batch, and never its packs of three."""
    skip = {"shares": "three does not divide a share"} if pack == 3 else {}
    options = {"width": 4, "pack": pack, "conditional": pack == 3}
    report = check_model("dcgan", data=("image",), skip=skip, **options)
    assert {"score (image)", "sizes (image)", "precision (image)"} <= set(report.kept)


@pytest.mark.slow
def test_a_run_of_packs_is_trained_and_judged(cli: Callable[..., Result]) -> None:
    """Batches of 7 in packs of 2, and a judge who knows nothing of packs."""
    brief = ("--data", "glyphs:200", "--steps", "3", "--batch-size", "7", "--width", "4")
    assert cli("train", "dcgan", *brief, "--pack", "2", "--out", "run").code == 0
    judged = cli("evaluate", "run", "--metrics", "swd", "--n", "10", "--json")
    assert judged.code == 0 and '"swd"' in judged.out
