"""The Wasserstein game: the penalty against a hand computation, the bounds, the players."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from games import POINTS, batch, check_conditional, check_moves, check_sampling, step, trainer
from safetensors.torch import load_file
from torch import Tensor, nn

from gentool.noise import sampling_noise
from gentool.spec import DataSpec
from gentool.train.game import Rounds
from gentool_wgan import WGANConfig, gentool_model
from gentool_wgan.model import WGAN
from gentool_wgan.objectives import generator_loss, gradient_penalty, wasserstein

IMAGE = DataSpec("image", (1, 16, 16), ("a", "b", "c"))
WAYS = ("gp", "clip", "spectral")


def small(data: DataSpec = POINTS, **options: object) -> WGAN:
    torch.manual_seed(0)
    config = WGANConfig(hidden=(8, 6), latent_dim=3, width=4)
    return WGAN(dataclasses.replace(config, **options), data)  # type: ignore[arg-type]


def penalty_by_hand(w: np.ndarray, v: np.ndarray, x_hat: np.ndarray) -> float:
    """E (‖∇f‖ − 1)² of f(u) = v·tanh(W u), whose gradient is Wᵀ(v ⊙ (1 − tanh²(W u)))."""
    slopes = v * (1 - np.tanh(x_hat @ w.T) ** 2)
    return float(((np.linalg.norm(slopes @ w, axis=1) - 1) ** 2).mean())


def central_differences(w: np.ndarray, v: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    h, result = 1e-6, np.zeros_like(w)
    for i in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[i] += h
        down[i] -= h
        result[i] = (penalty_by_hand(up, v, x_hat) - penalty_by_hand(down, v, x_hat)) / (2 * h)
    return result


def test_penalty_and_its_second_order_gradient_by_hand() -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(3, 2)), rng.normal(size=3)
    x, fake, epsilon = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), rng.random((5, 1))
    w_torch = torch.tensor(w, requires_grad=True)
    v_torch = torch.tensor(v)

    def critic(u: Tensor) -> Tensor:
        return torch.tanh(u @ w_torch.T) @ v_torch

    tensors = (torch.from_numpy(a) for a in (x, fake, epsilon))
    penalty = gradient_penalty(critic, *tensors)
    penalty.backward()
    x_hat = epsilon * x + (1 - epsilon) * fake
    assert penalty.item() == pytest.approx(penalty_by_hand(w, v, x_hat), rel=1e-12)
    np.testing.assert_allclose(w_torch.grad, central_differences(w, v, x_hat), rtol=1e-7)


def test_penalty_norm_is_over_the_whole_example() -> None:
    """A linear critic has slope ‖w‖ everywhere, over channels, rows and columns together."""
    w = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    x, fake = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    penalty = gradient_penalty(
        lambda u: (u * w).flatten(1).sum(1), x, fake, torch.rand(6, 1, 1, 1, dtype=torch.float64)
    )
    penalty.backward()
    norm = w.detach().norm()
    torch.testing.assert_close(penalty, (norm - 1) ** 2)
    torch.testing.assert_close(w.grad, 2 * (norm - 1) * w.detach() / norm)


def test_penalty_of_a_flat_critic_is_one_with_a_finite_gradient() -> None:
    w = torch.zeros(2, requires_grad=True)
    penalty = gradient_penalty(
        lambda u: u @ w, torch.ones(3, 2), -torch.ones(3, 2), torch.rand(3, 1)
    )
    penalty.backward()
    assert penalty.item() == 1.0 and torch.isfinite(w.grad).all()


def test_penalty_is_taken_between_real_and_generated() -> None:
    seen: list[Tensor] = []

    def critic(u: Tensor) -> Tensor:
        seen.append(u.detach())
        return u.sum(1)

    x, fake = torch.full((3, 2), 5.0), torch.zeros(3, 2)
    gradient_penalty(critic, x, fake, torch.tensor([[1.0], [0.0], [0.25]]))
    assert seen[0].tolist() == [[5.0, 5.0], [0.0, 0.0], [1.25, 1.25]]


def test_estimate_and_loss_are_two_scalars() -> None:
    model, data = small(penalty=7.0), batch(POINTS)
    objective = model.critic_objective(data, step())
    named = objective.scalars
    assert set(named) == {"wasserstein", "gradient_penalty"}
    expected = -named["wasserstein"] + 7.0 * named["gradient_penalty"]
    torch.testing.assert_close(objective.loss, expected)
    fake = model.generator(step().noise.normal("z", (6, 3)), None)
    real_mean = model.critic(model.range.inward(data.x), None).mean()
    torch.testing.assert_close(named["wasserstein"], real_mean - model.critic(fake, None).mean())
    loss = model.generator_objective(data, step()).loss
    torch.testing.assert_close(loss, -model.critic(fake, None).mean())


def test_default_weight_of_the_penalty() -> None:
    assert (small(IMAGE).penalty, small(POINTS).penalty) == (10.0, 0.1)
    assert small(IMAGE, penalty=2.0).penalty == 2.0


def test_values_in_half_precision_are_averaged_in_single() -> None:
    values = torch.full((3,), 1.0, dtype=torch.bfloat16)
    assert wasserstein(values, values).dtype == generator_loss(values).dtype == torch.float32


@pytest.mark.parametrize("data", ["ring:64", "glyphs:64"])
def test_clipping_bounds_every_critic_weight_after_every_step(tmp_path: Path, data: str) -> None:
    bound = 0.02
    shape = POINTS if data.startswith("ring") else DataSpec("image", (1, 28, 28))
    model = small(shape, lipschitz="clip", clip=bound, lr=0.01, critic_steps=2)
    game = trainer(model, gentool_model(), tmp_path, steps=6, data=data)
    assert max(p.abs().max() for p in model.critic.parameters()) > bound
    free = max(p.abs().max().item() for p in model.generator.parameters())
    for _ in range(6):
        before = [p.clone() for p in model.critic.parameters()]
        game.take_step()
        largest = [p.detach().abs().max().item() for p in model.critic.parameters()]
        assert max(largest) == pytest.approx(bound)  # reached, so the bound was at work
        assert all(v <= bound * (1 + 1e-6) for v in largest)
        assert any(
            not torch.equal(a, b) for a, b in zip(before, model.critic.parameters(), strict=True)
        )
    assert free > bound  # the generator's weights are left alone
    assert max(p.abs().max().item() for p in model.generator.parameters()) > bound


def test_spectral_norm_bounds_the_slope_of_the_mlp() -> None:
    model = small(lipschitz="spectral").train()
    u = torch.randn(200, 2)
    for _ in range(50):  # power iterations
        model.critic(u, None)
    model.eval()
    for layer in model.critic.modules():
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    values = model.critic(u, None)
    slope = (values[:, None] - values[None]).abs() / (torch.cdist(u, u) + 1e-9)
    assert slope.max() <= 1.001


def test_batch_norm_in_the_critic_with_clipping_alone() -> None:
    for way in WAYS:
        model = small(IMAGE, lipschitz=way)
        kinds = {type(m) for m in model.critic.modules()}
        assert (nn.BatchNorm2d in kinds) == (way == "clip")
        assert nn.Sigmoid not in kinds
    assert nn.Linear in {type(m) for m in small(IMAGE, net="mlp").critic.modules()}
    with pytest.raises(ValueError, match="for images"):
        small(POINTS, net="conv")


def test_optimizers_are_the_papers() -> None:
    clip = small(lipschitz="clip").players()[0].optimizer
    assert (clip.kind, clip.lr) == ("RMSprop", 5e-5)
    adam = small().players()[1].optimizer
    assert (adam.kind, adam.lr, adam.arguments["betas"]) == ("Adam", 1e-4, (0.0, 0.9))
    chosen = small(lipschitz="clip", optimizer="adam", lr=0.5).players()[0].optimizer
    assert (chosen.kind, chosen.lr) == ("Adam", 0.5)


def test_the_critic_moves_several_times_a_round(tmp_path: Path) -> None:
    game = trainer(small(critic_steps=3), gentool_model(), tmp_path, steps=7)
    for _ in range(7):
        game.take_step()
    assert [state.count for state in game.players] == [7, 2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [POINTS, IMAGE], ids=["points", "images"])
def test_each_player_moves_only_its_own_weights(way: str, data: DataSpec) -> None:
    model = small(data, lipschitz=way, lr=1e-3, conditional=data is IMAGE)
    check_moves(model, batch(data))


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 33, 47), (4, 96, 96)])
def test_any_image_size(shape: tuple[int, ...]) -> None:
    data = DataSpec("image", shape)
    model = small(data)
    check_sampling(model)
    objective = model.train().critic_objective(batch(data, 2), step())
    objective.loss.backward()
    assert torch.isfinite(objective.loss)


def test_a_conditional_model_needs_and_uses_labels() -> None:
    check_conditional(small(conditional=True))
    check_conditional(small(IMAGE, conditional=True))
    with pytest.raises(ValueError, match="labels"):
        small(DataSpec("points", (2,)), conditional=True)


def test_uniform_noise_range() -> None:
    z = small(noise="uniform").prior(1000, sampling_noise(0))
    assert -1 <= z.min() < -0.98 and 0.98 < z.max() < 1


def test_evaluation_and_scores_agree() -> None:
    model, data = small(IMAGE).eval(), batch(IMAGE)
    with torch.inference_mode():
        estimate = model.evaluate(data, step())["wasserstein"]
        generated = model.sample(step().noise.normal("z", (6, 3)))
        gap = model.score(data.x).mean() - model.score(generated).mean()
    torch.testing.assert_close(estimate, gap, rtol=1e-4, atol=1e-6)


def test_bf16_keeps_the_penalty_close() -> None:
    model, data = small(IMAGE, width=8), batch(IMAGE, 16)
    exact = model.critic_objective(data, step()).scalars["gradient_penalty"]
    with torch.autocast("cpu", torch.bfloat16):
        objective = model.critic_objective(data, step())
    objective.loss.backward()
    assert objective.scalars["gradient_penalty"].item() == pytest.approx(exact.item(), rel=0.02)
    assert all(torch.isfinite(p.grad).all() for p in model.critic.parameters())


def test_long_rounds_are_those_of_the_published_code(tmp_path: Path) -> None:
    """Counted beside its loop: 100 if gen_iterations < 25 or gen_iterations % 500 == 0 else 5."""
    critic = small(lipschitz="clip", long_rounds=True).players()[0]
    ends, step = [], 0
    for gen_iterations in range(1100):
        step += 100 if gen_iterations < 25 or gen_iterations % 500 == 0 else 5
        ends.append(step)
    rounds = Rounds(critic)
    assert [s for s in range(1, step + 1) if rounds.end_at(s)] == ends
    assert rounds.end_at(ends[3]) and not rounds.end_at(ends[3] + 1)  # as after a resume
    assert Rounds(critic).within(2510) == 27
    plain = Rounds(small(lipschitz="clip").players()[0])
    assert [s for s in range(1, 16) if plain.end_at(s)] == [5, 10, 15]


@pytest.mark.slow
def test_a_run_of_long_rounds_moves_the_generator_when_the_round_is_over(
    cli: Callable[..., Result],
) -> None:
    small_run = ("--data", "ring:400", "--hidden", "8", "--sample-every", 0, "--batch-size", 16)
    train = ("train", "wgan", *small_run, "--lipschitz", "clip", "--long-rounds")
    assert cli(*train, "--steps", 250, "--out", "whole").code == 0
    assert cli(*train, "--steps", 130, "--out", "run").code == 0
    newest = max(Path("run/state").glob("step-*"))
    assert load_file(newest / "optim.safetensors")["player1/optimizer/0/step"].item() == 1
    assert cli("resume", "run", "--steps", 250).code == 0
    whole, resumed = (Path(f, "model.safetensors").read_bytes() for f in ("whole", "run"))
    assert whole == resumed
