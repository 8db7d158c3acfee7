"""The DCGAN's guidelines, read off the networks, and its two players."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from games import batch, check_conditional, check_moves, check_sampling, step, trainer
from torch import nn
from torch.nn.functional import binary_cross_entropy

from gentool.model import parameter_count
from gentool.noise import sampling_noise
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig, gentool_model
from gentool_dcgan.model import DCGAN

IMAGE = DataSpec("image", (1, 16, 16), ("a", "b", "c"))
CLASSIC = DataSpec("image", (3, 64, 64))


def small(data: DataSpec = IMAGE, **options: object) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(dataclasses.replace(DCGANConfig(latent_dim=5, width=4), **options), data)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def classic() -> DCGAN:
    return small(CLASSIC, latent_dim=100, width=64)


def test_the_classic_networks_at_64(classic: DCGAN) -> None:
    """100 → 512·4² → 256·8² → 128·16² → 64·32² → 3·64², without biases, and back."""
    kernels = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    assert parameter_count(classic.generator) == kernels + 2 * (512 + 256 + 128 + 64)
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert parameter_count(classic.discriminator) == kernels + 2 * (128 + 256 + 512)


def test_initial_weights_are_normal(classic: DCGAN) -> None:
    for network in (classic.generator, classic.discriminator):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                count = layer.weight.numel()
                assert layer.weight.std().item() == pytest.approx(0.02, rel=4 / count**0.5)
                assert abs(layer.weight.mean().item()) < 4 * 0.02 / count**0.5
            if isinstance(layer, nn.BatchNorm2d):
                count = layer.weight.numel()
                assert layer.weight.mean().item() == pytest.approx(1, abs=4 * 0.02 / count**0.5)
                assert layer.weight.std().item() == pytest.approx(0.02, rel=4 / count**0.5)
                assert not layer.bias.any()


def test_the_guidelines(classic: DCGAN) -> None:
    assert isinstance(classic.generator.first, nn.ConvTranspose2d)
    generator = [nn.ConvTranspose2d, *(type(m) for m in classic.generator.body)]
    assert generator == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 4 + [
        nn.ConvTranspose2d,
        nn.Tanh,
    ]
    discriminator = [type(m) for m in classic.discriminator.body]
    assert (
        discriminator
        == [nn.Conv2d, nn.LeakyReLU]
        + [
            nn.Conv2d,
            nn.BatchNorm2d,
            nn.LeakyReLU,
        ]
        * 3
    )
    leaks = {m.negative_slope for m in classic.modules() if isinstance(m, nn.LeakyReLU)}
    assert leaks == {0.2}
    adam = classic.players()[0].optimizer
    assert (adam.kind, adam.lr, adam.arguments["betas"]) == ("Adam", 2e-4, (0.5, 0.999))


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 33, 47), (4, 96, 96), (2, 17, 90)]
)
def test_any_image_size(shape: tuple[int, ...]) -> None:
    data = DataSpec("image", shape)
    model = small(data)
    check_sampling(model)
    model.train()
    for player in model.players():
        loss = player.objective(batch(data, 2), step()).loss
        loss.backward()
        assert torch.isfinite(loss)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="--size"):
        small(DataSpec("image", (1, 7, 40)))


@pytest.mark.parametrize("options", [{}, {"conditional": True}, {"spectral_norm": True}])
def test_each_player_moves_only_its_own_weights(options: dict[str, bool]) -> None:
    check_moves(small(**options), batch(IMAGE))


def test_objectives_are_binary_cross_entropy() -> None:
    model = small().double().train()
    data = batch(IMAGE, dtype=torch.float64)
    z = step().noise.normal("z", (6, 5)).double()
    fake = model.generator(z, None).detach()
    one, zero = torch.ones(6).double(), torch.zeros(6).double()
    p_real = torch.sigmoid(model.discriminator(2 * data.x - 1, None))
    p_fake = torch.sigmoid(model.discriminator(fake, None))
    objective = model.discriminator_objective(data, step())
    expected = binary_cross_entropy(p_real, one) + binary_cross_entropy(p_fake, zero)
    torch.testing.assert_close(objective.loss, expected)
    torch.testing.assert_close(objective.scalars["d_real"], p_real.mean())
    torch.testing.assert_close(objective.scalars["d_fake"], p_fake.mean())
    loss = model.generator_objective(data, step()).loss
    torch.testing.assert_close(loss, binary_cross_entropy(p_fake, one))


def test_spectral_norm_is_one() -> None:
    model = small(spectral_norm=True).train()
    x = 2 * batch(IMAGE).x - 1
    for _ in range(50):  # power iterations
        model.discriminator(x, None)
    for layer in model.discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            assert largest.item() == pytest.approx(1, abs=1e-3)


def test_a_conditional_model_needs_and_uses_labels() -> None:
    check_conditional(small(conditional=True))
    with pytest.raises(ValueError, match="labels"):
        small(CLASSIC, conditional=True)


def test_the_conditional_logit_is_that_of_the_label() -> None:
    model = small(conditional=True).eval()
    x, labels = batch(IMAGE).x, torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        h = model.discriminator.body(2 * x - 1)
        every = torch.einsum("nchw,kchw->nk", h, model.discriminator.out.weight)
        expected = every[:, 0] + every[torch.arange(6), 1 + labels]
        torch.testing.assert_close(model.score(x, labels), expected)


def test_uniform_noise_range() -> None:
    z = small(noise="uniform").prior(1000, sampling_noise(0))
    assert -1 <= z.min() < -0.98 and 0.98 < z.max() < 1


def test_training_step_in_bf16_and_batch_of_one() -> None:
    model = small().train()
    for n in (1, 4):
        with torch.autocast("cpu", torch.bfloat16):
            losses = [p.objective(batch(IMAGE, n), step()).loss for p in model.players()]
        assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses)


def test_one_discriminator_step_to_one_of_the_generator(tmp_path: Path) -> None:
    data = DataSpec("image", (1, 28, 28))
    game = trainer(small(data), gentool_model(), tmp_path, steps=2, data="glyphs:40")
    for _ in range(2):
        game.take_step()
    assert [state.count for state in game.players] == [2, 2]
    assert game.loader.per_epoch == 2  # 40 examples in batches of 16: the ragged one is left out


def test_a_saturated_discriminator_is_reported() -> None:
    model = small()
    assert model.warnings({"d_accuracy": 0.9}) == model.warnings({}) == []
    assert "99.9%" in model.warnings({"d_accuracy": 0.999})[0]
