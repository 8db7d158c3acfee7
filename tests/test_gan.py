"""The two-player game on MLPs: objectives against closed forms, packing, and the players."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from games import POINTS, batch, check_conditional, check_moves, check_sampling, step, trainer
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gentool.nn import Range, packed
from gentool.noise import sampling_noise
from gentool.spec import DataSpec
from gentool_gan import GANConfig, gentool_model
from gentool_gan.model import GAN
from gentool_gan.objectives import discriminator_loss, generator_loss, standing

IMAGE = DataSpec("image", (3, 5, 4), ("a", "b", "c"))
OBJECTIVES = ("non-saturating", "minimax", "least-squares", "hinge")


def small(data: DataSpec = POINTS, **options: object) -> GAN:
    torch.manual_seed(0)
    config = dataclasses.replace(GANConfig(hidden=(8, 6), latent_dim=3), **options)  # type: ignore[arg-type]
    return GAN(config, data)


def logits(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_cross_entropy_is_that_of_torch() -> None:
    real, fake = logits(-3, 0.5, 7), logits(4, -0.2, -6)
    for smooth_real, smooth_fake in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.2)):
        loss = discriminator_loss("non-saturating", real, fake, smooth_real, smooth_fake)
        expected = binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smooth_real))
        expected += binary_cross_entropy_with_logits(fake, torch.full_like(fake, smooth_fake))
        torch.testing.assert_close(loss, expected)


def test_generator_gradients_are_the_closed_forms() -> None:
    """d/dl log(1 − D) = −D and d/dl (−log D) = D − 1: both signs, other sizes."""
    for objective, slope in {
        "minimax": lambda x: -torch.sigmoid(x),
        "non-saturating": lambda x: torch.sigmoid(x) - 1,
        "least-squares": lambda x: x - 1,
        "hinge": lambda x: -torch.ones_like(x),
    }.items():
        fake = logits(-8, -1, 0, 2, 9)
        generator_loss(objective, fake).backward()
        torch.testing.assert_close(fake.grad, slope(fake.detach()) / 5)


def test_minimax_saturates_where_the_other_does_not() -> None:
    slopes = {}
    for objective in ("minimax", "non-saturating"):
        fake = logits(-30.0)  # the discriminator is sure
        generator_loss(objective, fake).backward()
        slopes[objective] = fake.grad
    assert abs(float(slopes["minimax"])) < 1e-12
    torch.testing.assert_close(slopes["non-saturating"], torch.tensor([-1.0]).double())


def test_hinge_and_least_squares_values() -> None:
    real, fake = logits(2.0, 0.25), logits(-3.0, 0.5)
    hinge = (0 + 0.75) / 2 + (0 + 1.5) / 2
    squares = 0.5 * (1.0 + 0.75**2) / 2 + 0.5 * (9.0 + 0.25) / 2
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx(hinge)
    assert discriminator_loss("least-squares", real, fake).item() == pytest.approx(squares)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_finite_at_huge_logits(objective: str, dtype: torch.dtype) -> None:
    for size in (1e4, -1e4):
        real = torch.tensor([size], dtype=dtype, requires_grad=True)
        fake = torch.tensor([size], dtype=dtype, requires_grad=True)
        loss = discriminator_loss(objective, real, fake, 0.0 if objective == "hinge" else 0.1)
        (loss + generator_loss(objective, fake)).backward()
        assert torch.isfinite(loss) and loss.dtype == torch.float32
        assert torch.isfinite(real.grad).all() and torch.isfinite(fake.grad).all()


def test_huge_logits_have_their_exact_loss() -> None:
    big = torch.tensor([1e4])
    assert discriminator_loss("non-saturating", big, -big).item() == 0.0
    assert discriminator_loss("non-saturating", -big, big).item() == 2e4
    assert generator_loss("non-saturating", -big).item() == 1e4
    assert generator_loss("minimax", big).item() == -1e4


def test_smoothing_moves_the_discriminators_optimum() -> None:
    """On equal densities the best D is the mean label, (1 − α + β) / 2."""
    alpha, beta = 0.2, 0.1
    best = logits(math.log(0.45 / 0.55))
    discriminator_loss("non-saturating", best, best, alpha, beta).backward()
    assert abs(float(best.grad)) < 1e-12


def test_hinge_refuses_smoothing() -> None:
    with pytest.raises(ValueError, match="margins"):
        GANConfig(objective="hinge", smooth_real=0.1)


def test_standing_counts_what_is_told_apart() -> None:
    real, fake = torch.tensor([2.0, -1.0, 3.0]), torch.tensor([-2.0, -1.0, 1.0])
    told = standing("non-saturating", real, fake)
    assert told["d_accuracy"].item() == pytest.approx(4 / 6)
    assert told["d_real"].item() == pytest.approx(torch.sigmoid(real).mean().item())
    linear = standing("least-squares", torch.tensor([1.3, 0.6]), torch.tensor([0.4, -1.0]))
    assert linear["d_accuracy"].item() == 1.0 and linear["d_fake"].item() == pytest.approx(0.2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_player_moves_only_its_own_weights(objective: str) -> None:
    check_moves(small(objective=objective), batch(POINTS))
    check_moves(small(IMAGE, objective=objective, conditional=True, pack=2), batch(IMAGE))


def test_objectives_are_those_of_the_networks() -> None:
    """The players' losses from G and D called by hand on the same noise."""
    model, data = small(), batch(POINTS)
    z = step().noise.normal("z", (6, 3))
    fake = model.generate(z, None).detach()
    real_logits = model.discriminator(model.range.inward(data.x)).squeeze(1)
    fake_logits = model.discriminator(fake).squeeze(1)
    expected = -torch.log(torch.sigmoid(real_logits)) - torch.log(1 - torch.sigmoid(fake_logits))
    loss = model.discriminator_objective(data, step()).loss
    torch.testing.assert_close(loss, expected.mean())
    loss = model.generator_objective(data, step()).loss
    torch.testing.assert_close(loss, -torch.log(torch.sigmoid(fake_logits)).mean())


def test_packs_are_rows_side_by_side() -> None:
    x = torch.arange(10.0).view(5, 2)
    assert packed(x, 1) is x
    assert packed(x, 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert packed(x[:1], 3).tolist() == [[0, 1, 0, 1, 0, 1]]


def test_the_discriminator_sees_packs() -> None:
    model, data = small(pack=3), batch(POINTS)
    assert model.discriminator[0].in_features == 6
    by_hand = torch.cat([data.x[0:3].flatten(), data.x[3:6].flatten()]).view(2, 6)
    expected = model.discriminator(by_hand).squeeze(1)
    torch.testing.assert_close(model.discriminate(data.x, None), expected)
    score = model.score(data.x)  # x_0 heads a pack with x_2 and x_4
    head = torch.cat([model.range.inward(data.x)[[0, 2, 4]].flatten()])[None]
    assert score.shape == (6,)
    torch.testing.assert_close(score[:1], model.discriminator(head).squeeze(1))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_odd_batches_with_packs(n: int) -> None:
    model = small(pack=4)
    objective = model.discriminator_objective(batch(POINTS, n), step())
    objective.loss.backward()
    assert torch.isfinite(objective.loss) and model.score(batch(POINTS, n).x).shape == (n,)


@pytest.mark.parametrize("data", [POINTS, IMAGE, DataSpec("points", (1,))])
@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_samples_are_in_range_and_follow_the_noise(data: DataSpec, noise: str) -> None:
    check_sampling(small(data, noise=noise))


def test_a_conditional_model_needs_and_uses_labels() -> None:
    check_conditional(small(conditional=True))
    check_conditional(small(IMAGE, conditional=True))
    with pytest.raises(ValueError, match="labels"):
        small(DataSpec("points", (2,)), conditional=True)


def test_uniform_noise_fills_its_range() -> None:
    z = small(noise="uniform").prior(2000, sampling_noise(0))
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() < 1
    assert abs(z.mean().item()) < 0.02 and z.var().item() == pytest.approx(1 / 3, abs=0.02)
    assert small().prior(2000, sampling_noise(0)).abs().max() > 2


def test_steps_of_both_players_and_the_optimizer(tmp_path: Path) -> None:
    model = small(d_steps=2, g_steps=3, optimizer="sgd", lr=0.01, momentum=0.7)
    game = trainer(model, gentool_model(), tmp_path, steps=4)
    for _ in range(4):
        game.take_step()
    discriminator, generator = game.players
    assert (discriminator.count, generator.count) == (4, 6)
    assert isinstance(generator.optimizer, torch.optim.SGD)
    assert generator.optimizer.defaults["momentum"] == 0.7


def test_points_are_centred_and_scaled_by_one_number() -> None:
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0]])
    model = small()
    model.prepare(x)
    u = model.range.inward(x)
    torch.testing.assert_close(u.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert u.square().mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(model.range.outward(u), x)
    distance = (x[0] - x[1]).norm() / (u[0] - u[1]).norm()
    torch.testing.assert_close(distance, model.range.scale)
    still = Range("points", (2,))
    still.fit(torch.ones(4, 2))  # a constant is no reason to divide by zero
    assert torch.isfinite(still.inward(x)).all()


def test_images_are_used_between_minus_one_and_one() -> None:
    model = small(IMAGE)
    model.prepare(torch.rand(10, 3, 5, 4))
    u = model.range.inward(torch.tensor([0.0, 0.25, 1.0]))
    assert u.tolist() == [-1.0, -0.5, 1.0]


def test_a_saturated_discriminator_is_reported() -> None:
    model = small()
    assert model.warnings({"d_accuracy": 0.9}) == model.warnings({}) == []
    assert "99.9%" in model.warnings({"d_accuracy": 0.999})[0]


def test_batch_norm_is_the_generators_alone() -> None:
    model = small(IMAGE, batch_norm=True)
    assert sum(isinstance(m, torch.nn.BatchNorm1d) for m in model.generator) == 2
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in model.discriminator)
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in small(IMAGE).generator)
    check_moves(model, batch(IMAGE))
    check_sampling(model)
