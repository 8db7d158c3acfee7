"""Probabilistic PCA keeps gentool's contract; likelihood, fit and posterior are the textbook's."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_ppca import PPCAConfig
from gentool_ppca.model import PPCA
from torch.distributions import MultivariateNormal

from gentool.model import Batch
from gentool.noise import sampling_noise
from gentool.spec import DataSpec
from gentool.testing import check_model, train_briefly


def test_the_model_keeps_the_contract() -> None:
    check_model("ppca", latent_dim=1)


def fitted(n: int = 400, d: int = 6, q: int = 2) -> tuple[PPCA, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + 3
    model = PPCA(PPCAConfig(latent_dim=q), DataSpec("points", (d,))).double()
    model.prepare(x)
    return model, x


def test_the_likelihood_is_the_normal_one() -> None:
    model, x = fitted()
    covariance = model.weight @ model.weight.T + torch.exp(2 * model.log_sigma) * torch.eye(6)
    torch.testing.assert_close(
        model.log_prob(x), MultivariateNormal(model.mean, covariance).log_prob(x)
    )


def test_nothing_is_more_likely_than_the_closed_form() -> None:
    """The gradient is 0 there, and every step away from it costs likelihood."""
    model, x = fitted()
    loss = -model.log_prob(x).mean()
    for gradient in torch.autograd.grad(loss, list(model.parameters())):
        assert gradient.abs().max() < 1e-9
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            for _ in range(20):
                step = 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter += step
                assert -model.log_prob(x).mean() >= loss - 1e-9
                parameter -= step


def test_more_values_than_examples() -> None:
    """The N×N decomposition finds what the D×D one does."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    model = PPCA(PPCAConfig(latent_dim=2), DataSpec("points", (8,))).double()
    model.prepare(x)
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    variance = values[:6].mean()
    expected = vectors[:, 6:] @ torch.diag(values[6:] - variance) @ vectors[:, 6:].T
    torch.testing.assert_close(model.weight @ model.weight.T, expected)
    assert torch.exp(2 * model.log_sigma).item() == pytest.approx(variance.item())


def test_the_posterior_is_bayes_rule() -> None:
    """E[z|x] of the joint Gaussian of (z, x): Cov(z, x) Cov(x)⁻¹ (x − μ)."""
    model, x = fitted()
    covariance = model.weight @ model.weight.T + torch.exp(2 * model.log_sigma) * torch.eye(6)
    expected = (model.weight.T @ torch.linalg.solve(covariance, (x - model.mean).T)).T
    torch.testing.assert_close(model.encode(x), expected)


def test_samples_have_the_datas_mean_and_covariance() -> None:
    model, x = fitted(q=5)
    noise = sampling_noise(0)
    z = model.prior(200_000, noise).double()
    drawn = model.sample(z, None, noise)
    torch.testing.assert_close(drawn.mean(0), x.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(
        torch.cov(drawn.T), torch.cov(x.T, correction=0), rtol=0.05, atol=0.1
    )


def test_pixels_are_dequantised_in_the_closed_form_too() -> None:
    """Mean and total variance are those of (t + u)/256."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 1, 3, 3), generator=generator, dtype=torch.uint8)
    model = PPCA(PPCAConfig(latent_dim=2), DataSpec("image", (1, 3, 3))).double()
    model.prepare(pixels / 255)
    many = pixels.repeat(4000, 1, 1, 1)
    x, _ = model.presented(Batch(many / 255, None, many), sampling_noise(3))
    x = x.flatten(1).double()
    torch.testing.assert_close(model.mean.detach(), x.mean(0), rtol=0, atol=1e-5)
    trace = model.weight.square().sum() + 9 * torch.exp(2 * model.log_sigma)
    assert trace.item() == pytest.approx(x.var(0, correction=0).sum().item(), rel=1e-5)


def test_it_trains_and_judges_points() -> None:
    loaded = train_briefly("ppca", source="ring:2000", steps=20, latent_dim=1)
    x = torch.randn(50, 2)
    found = loaded.model.log_weights(Batch(x), 3, sampling_noise(0))
    assert found.shape == (3, 50) and torch.equal(found[0], found[2])
    assert math.isfinite(found.sum().item())


def test_components_must_be_fewer_than_values() -> None:
    with pytest.raises(ValueError, match="an example has 2 values"):
        PPCA(PPCAConfig(latent_dim=2), DataSpec("points", (2,)))
