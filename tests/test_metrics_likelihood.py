"""−log p(x) by importance sampling, against a model whose p(x) is known."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from gentool import plugins
from gentool.data.dataset import Split
from gentool.metrics.likelihood import (
    CHUNK,
    active_units,
    bits_per_dim,
    collapse_warning,
    importance_weighted,
    nll,
)
from gentool.model import Batch, Model
from gentool.noise import Noise
from gentool.options import build
from gentool.spec import DataSpec

CPU = torch.device("cpu")
LIFT = 50.0  # a bias that keeps every ReLU on its linear side


def linear_gaussian(latent: int = 3, size: int = 6) -> tuple[Model, MultivariateNormal]:
    """A VAE of the plugin whose decoder is linear: z ~ N(0, I), x|z ~ N(Wz + b, σ² I).

    Then x ~ N(b, WWᵀ + σ² I). Its q(z|x) has the posterior's mean and twice its variance, so
    the weights vary.
    """
    spec = plugins.spec_of(plugins.find("vae"))
    config = build(
        spec.config,
        {"latent_dim": latent, "hidden": (size,), "likelihood": "gaussian", "sigma": 0.6},
    )
    model = spec.load_factory()(config, DataSpec("points", (size,)))
    generator = torch.Generator().manual_seed(3)
    w, b = (torch.randn(shape, generator=generator) for shape in ((size, latent), (size,)))
    posterior = torch.linalg.inv(torch.eye(latent) + w.T @ w / 0.36)
    to_mean = posterior @ w.T / 0.36
    with torch.no_grad():
        _set(model.decoder.body, torch.eye(size)[:, :latent], torch.full((size,), LIFT))
        _set(model.decoder.out, torch.cat([w, torch.zeros(size, size - latent)], 1), None)
        model.decoder.out.bias.copy_(b - model.decoder.out.weight @ torch.full((size,), LIFT))
        _set(model.encoder.body, torch.eye(size), torch.full((size,), LIFT))
        _set(model.encoder.mu, to_mean, -to_mean @ (b + LIFT))
        _set(model.encoder.logvar, torch.zeros(latent, size), (2 * posterior.diagonal()).log())
    marginal = MultivariateNormal(b.double(), (w @ w.T + 0.36 * torch.eye(size)).double())
    return model.eval(), marginal


def _set(module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    linear = next(m for m in module.modules() if isinstance(m, nn.Linear))
    linear.weight.copy_(weight)
    if bias is not None:
        linear.bias.copy_(bias)


def points(marginal: MultivariateNormal, n: int) -> Tensor:
    torch.manual_seed(0)
    return marginal.sample((n,)).float()


def estimate(model: Model, x: Tensor, k: int, seed: int = 0, chunk: int = 100) -> Tensor:
    batches = [partial(Batch, part) for part in x.split(20)]
    return importance_weighted(model, batches, k, seed=seed, device=CPU, chunk=chunk).nll


def test_against_the_closed_form_within_a_hundredth_of_a_nat() -> None:
    model, marginal = linear_gaussian()
    x = points(marginal, 100)
    found = estimate(model, x, 5000)
    assert found.mean().item() == pytest.approx(
        -marginal.log_prob(x.double()).mean().item(), abs=0.01
    )


@pytest.mark.parametrize("k", [1, 5, 130])
def test_the_probability_is_unbiased_for_every_k(k: int) -> None:
    """E p̂_k(x) = p(x), and E −log p̂_k falls towards −log p from above."""
    model, marginal = linear_gaussian()
    x = points(marginal, 1).repeat(2000, 1)
    log_p = marginal.log_prob(x[:1].double()).item()
    ratio = (-estimate(model, x, k) - log_p).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=4 * ratio.std().item() / math.sqrt(2000))
    assert ratio.log().mean() < 0


def test_more_latents_give_a_tighter_bound() -> None:
    model, marginal = linear_gaussian()
    x = points(marginal, 400)
    one, five, fifty, many = (estimate(model, x, k).mean().item() for k in (1, 5, 50, 500))
    assert one > five + 0.1 and five > fifty + 0.01
    # From 50 on the bound is tight, and what is left is the noise of the estimate.
    assert many == pytest.approx(fifty, abs=0.02)


def test_chunks_add_up() -> None:
    """Below one chunk it is the plain formula; beyond, the same over all chunks' weights."""
    model, marginal = linear_gaussian()
    x, zero = points(marginal, 7), torch.zeros((), dtype=torch.int64)
    with torch.no_grad():
        plain = model.log_weights(Batch(x), 30, Noise(0, "likelihood/0", zero))
        again = model.log_weights(Batch(x), 12, Noise(0, "likelihood/1", zero))
    expected = math.log(30) - plain.double().logsumexp(0)
    torch.testing.assert_close(estimate(model, x, 30, chunk=30), expected)
    both = torch.cat([plain, again]).double()
    expected = math.log(42) - both.logsumexp(0)
    torch.testing.assert_close(estimate(model, x, 42, chunk=30), expected)


def test_the_same_seed_gives_the_same_number() -> None:
    model, marginal = linear_gaussian()
    x = points(marginal, 30)
    assert torch.equal(estimate(model, x, 150), estimate(model, x, 150))
    assert not torch.equal(estimate(model, x, 150), estimate(model, x, 150, seed=1))


class Coin(Model):
    """p(x) = Π ρ^x (1 − ρ)^(1−x) without latents; grey pixels are thrown as coins, as in a VAE
    with dynamic binarisation."""

    def __init__(self) -> None:
        super().__init__()
        self.data, self.latent_shape = DataSpec("image", (1, 2, 2)), (1,)
        self.thrown: list[Tensor] = []

    def presented(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        x = (noise.uniform("coin", tuple(batch.x.shape)) < batch.x).float()
        return x, x

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        x, _ = self.presented(batch, noise)
        self.thrown.append(x)
        ones = x.flatten(1).sum(1)
        return (ones * math.log(0.3) + (4 - ones) * math.log(0.7)).expand(k, -1)


def test_an_example_is_binarised_once_not_once_a_chunk() -> None:
    """Else p̂ would average over different x, and the "likelihood" come out far too high."""
    model, grey = Coin(), Split((torch.full((40, 1, 2, 2), 127, dtype=torch.uint8)).numpy())
    found = nll(
        model, grey, n=40, k=1000, seed=0, device=CPU, progress=lambda what, done, total: None
    )
    # Two batches of 20 examples, and many chunks of each, in any order.
    counts = Counter(x.numpy().tobytes() for x in model.thrown)
    assert list(counts.values()) == [1000 // CHUNK] * 2
    fixed = {x.numpy().tobytes(): x for x in model.thrown}
    ones = torch.cat(list(fixed.values())).flatten(1).sum(1)
    expected = -(ones * math.log(0.3) + (4 - ones) * math.log(0.7)).mean().item()
    assert found["nll"] == pytest.approx(expected, rel=1e-5)


class Uniform(Model):
    """The uniform density over [0, 1]^D: 8 bits a pixel, whatever the pixels are."""

    support = "continuous"

    def __init__(self) -> None:
        super().__init__()
        self.data, self.latent_shape = DataSpec("image", (1, 3, 3)), (1,)
        self.seen: list[Tensor] = []

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        self.seen.append(batch.x)
        assert batch.pixels is None
        return torch.zeros(k, len(batch.x))


def test_bits_per_dim_of_dequantised_pixels() -> None:
    assert bits_per_dim(0.0, 100) == 8
    assert bits_per_dim(-8 * math.log(2) * 100, 100) == pytest.approx(0)
    model = Uniform()
    black_and_white = Split((torch.arange(90) % 2 * 255).byte().view(10, 1, 3, 3).numpy())
    found = nll(
        model,
        black_and_white,
        n=10,
        k=3,
        seed=0,
        device=CPU,
        progress=lambda what, done, total: None,
    )
    assert found["bits_per_dim"] == pytest.approx(8)
    x = torch.cat(model.seen)
    assert (x >= 0).all() and (x < 1).all() and len(x.unique()) > 80
    levels = (x * 256).floor()
    assert set(levels.unique().tolist()) == {0.0, 255.0}


class HalfAsleep(Model):
    """Encodes x into two units; the second one never moves."""

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), torch.full((len(x),), 3.0)], 1)


def test_active_units_and_the_warning() -> None:
    x = torch.randn((50, 2), generator=torch.Generator().manual_seed(0))
    found = active_units(HalfAsleep(), Split(x.numpy()), n=50, device=CPU)
    assert found == {"active_units": 1.0, "latent_units": 2.0}
    assert collapse_warning(found) is None
    message = collapse_warning({"active_units": 0.0, "latent_units": 20.0})
    assert message is not None and "0 of 20" in message
