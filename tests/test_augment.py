"""DiffAugment against plain loops, its gradients, and what the games do with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from games import batch, step
from torch import Tensor

from gentool.nn import augmented
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN
from gentool_gan import GANConfig
from gentool_gan.model import GAN
from gentool_wgan import WGANConfig
from gentool_wgan.model import WGAN

IMAGE = DataSpec("image", (1, 16, 16))


def noise(number: int = 0) -> Noise:
    return Noise(3, "test", torch.tensor(number))


def drawn(name: str, n: int) -> np.ndarray:
    return noise().uniform(f"real/{name}", (n, 1, 1, 1)).flatten().numpy()


def images(
    n: int = 5, side: tuple[int, int] = (14, 9), dtype: torch.dtype = torch.float32
) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((n, 3, *side), generator=generator, dtype=dtype) * 2 - 1


def test_color_is_brightness_saturation_and_contrast() -> None:
    u = images()
    got = augmented(u, ["color"], noise(), "real")
    bright, colour, contrast = (drawn(f"color/{k}", 5) for k in ("bright", "colour", "contrast"))
    for i, image in enumerate(u.double().numpy()):
        image = image + bright[i] - 0.5
        grey = image.mean(0, keepdims=True)
        image = grey + 2 * colour[i] * (image - grey)
        image = image.mean() + (contrast[i] + 0.5) * (image - image.mean())
        np.testing.assert_allclose(got[i].numpy(), image, atol=2e-6)


def test_translation_shifts_by_whole_pixels_and_zeros_move_in() -> None:
    u = images(200)
    got = augmented(u, ["translation"], noise(), "real").numpy()
    down, right = (drawn(f"translation/{k}", 200) for k in ("down", "right"))
    shifts = set()
    for i, image in enumerate(u.numpy()):
        dy, dx = math.floor(down[i] * 5) - 2, math.floor(right[i] * 3) - 1  # 14/8 → 2, 9/8 → 1
        shifts.add((dy, dx))
        wanted = np.zeros_like(image)
        for y in range(14):
            for x in range(9):
                if 0 <= y - dy < 14 and 0 <= x - dx < 9:
                    wanted[:, y, x] = image[:, y - dy, x - dx]
        np.testing.assert_array_equal(got[i], wanted)
    assert len(shifts) == 15  # every one that can be


def test_cutout_zeroes_half_of_each_side_where_its_middle_falls() -> None:
    u = images(50)
    got = augmented(u, ["cutout"], noise(), "real").numpy()
    down, right = (drawn(f"cutout/{k}", 50) for k in ("down", "right"))
    for i, image in enumerate(u.numpy()):
        # 7 of 14 rows about a middle in 0 … 13, and 5 of 9 columns about one in 0 … 8.
        top, left = math.floor(down[i] * 14) - 3, math.floor(right[i] * 9) - 2
        wanted = image.copy()
        wanted[:, max(0, top) : max(0, top + 7), max(0, left) : max(0, left + 5)] = 0
        np.testing.assert_array_equal(got[i], wanted)


def test_gradients_run_through_all_of_it_twice() -> None:
    u = images(1, (4, 6), torch.float64).requires_grad_()

    def all_of_it(x: Tensor) -> Tensor:
        return augmented(x, ["cutout", "color", "translation"], noise(), "real").tanh()

    assert torch.autograd.gradcheck(all_of_it, (u,))
    assert torch.autograd.gradgradcheck(all_of_it, (u,))


def test_it_repeats_by_rows_and_differs_between_real_and_generated() -> None:
    u = images(6)
    kinds = ("color", "translation", "cutout")
    whole = augmented(u, kinds, noise(), "real")
    rest = Noise(3, "test", torch.tensor(0), row_offset=4)
    assert torch.equal(whole[4:], augmented(u[4:], kinds, rest, "real"))
    assert not torch.equal(whole, augmented(u, kinds, noise(), "fake"))
    assert not torch.equal(whole, augmented(u, kinds, noise(1), "real"))
    assert augmented(u, None, noise(), "real") is u


MODELS = [(GAN, GANConfig), (DCGAN, DCGANConfig), (WGAN, WGANConfig)]


@pytest.mark.parametrize(("model", "config"), MODELS)
def test_games_augment_both_sides_and_the_generator_learns_through_it(
    model: type, config: type
) -> None:
    torch.manual_seed(0)
    game = model(config(augment=("color", "translation", "cutout")), IMAGE)
    seen: list[Tensor] = []
    judge = game.players()[0].module
    judge.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    data = batch(IMAGE)
    for player in game.players():
        player.objective(data, step()).loss.backward()
    assert game.generator.parameters().__next__().grad.abs().sum() > 0
    plain = (2 * data.x - 1).flatten(1)
    real = seen[0].flatten(1)
    assert real.shape == plain.shape and not torch.allclose(real, plain)
    assert "few" not in game.remedies and "few" in model(config(), IMAGE).remedies


@pytest.mark.parametrize(("model", "config"), [MODELS[0], MODELS[2]])
def test_points_are_not_augmented(model: type, config: type) -> None:
    with pytest.raises(ValueError, match="--augment"):
        model(config(augment=("color",)), DataSpec("points", (2,)))
