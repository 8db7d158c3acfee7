"""The VAE's mathematics against torch.distributions, closed forms and autograd, in float64."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from gentool.model import Batch, Step
from gentool.noise import Noise, sampling_noise
from gentool.spec import DataSpec
from gentool_vae import VAEConfig
from gentool_vae.likelihoods import ContinuousBernoulli, Gaussian, make_likelihood
from gentool_vae.model import VAE
from gentool_vae.networks import pyramid

IMAGE = DataSpec("image", (1, 6, 5))
POINTS = DataSpec("points", (2,))


def noise(step: int = 0, exact: bool = False) -> Noise:
    return Noise(3, "test", torch.tensor(step), exact=exact)


def step(progress: float = 1.0, number: int = 0) -> Step:
    return Step(noise(number), torch.tensor(progress))


def small(data: DataSpec = IMAGE, **options: object) -> VAE:
    torch.manual_seed(0)
    config = dataclasses.replace(VAEConfig(latent_dim=3, hidden=(7,)), **options)  # type: ignore[arg-type]
    return VAE(config, data).double()


def batch(n: int = 4, data: DataSpec = IMAGE) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand((n, *data.shape), generator=generator, dtype=torch.float64))


def posterior(model: VAE, x: Tensor) -> Normal:
    mu, logvar = model.encode_moments(x, None)
    return Normal(mu, torch.exp(0.5 * logvar))


def test_kl_is_torch_distributions() -> None:
    model, data = small(), batch()
    expected = kl_divergence(posterior(model, data.x), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(
        model.terms(data, step())["kl"].double(), expected, rtol=1e-6, atol=0
    )


def test_reconstruction_is_minus_the_log_likelihood_of_the_drawn_latent() -> None:
    model, data = small(binarize=True), batch()
    terms = model.terms(data, step())
    binary = (noise().uniform("binarize", tuple(data.x.shape)) < data.x).double()
    q = posterior(model, binary)
    eps = noise().normal("z", (4, 3)).double()
    logits = model.decode(q.mean + q.stddev * eps, None)
    expected = -Bernoulli(logits=logits).log_prob(binary).flatten(1).sum(1).mean()
    torch.testing.assert_close(terms["recon"].double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["neg_elbo"], terms["recon"] + terms["kl"])


def test_gradient_of_the_elbo_against_finite_differences() -> None:
    model, data = small(likelihood="gaussian", sigma=0.5, activation="tanh"), batch(2)
    eps = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def loss() -> Tensor:
        from gentool import ops

        mu, logvar = model.encode_moments(data.x, None)
        z, kl = ops.reparam_kl(mu, logvar, eps=eps)
        return (model.likelihood.nll(model.decode(z, None), data.x) + kl).mean()

    loss().backward()
    for p in (model.encoder.mu.weight, model.encoder.logvar.bias, model.decoder.out.weight):
        assert p.grad is not None
        flat, h = p.data.view(-1), 1e-6
        for i in (0, len(flat) // 2):
            kept = flat[i].item()
            with torch.no_grad():
                flat[i] = kept + h
                above = loss().item()
                flat[i] = kept - h
                below = loss().item()
                flat[i] = kept
            numeric = (above - below) / (2 * h)
            assert abs(numeric) > 1e-9, "a coordinate that cannot tell"
            assert p.grad.view(-1)[i].item() == pytest.approx(numeric, rel=2e-3)


def test_beta_and_warmup_weigh_the_kl() -> None:
    plain = small().terms(batch(), step())
    for beta, warmup, progress, weight in [(4.0, 0.0, 0.1, 4.0), (2.0, 0.5, 0.25, 1.0)]:
        terms = small(beta=beta, kl_warmup=warmup).terms(batch(), step(progress))
        expected = plain["recon"] + weight * plain["kl"]
        torch.testing.assert_close(terms["loss"], expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(terms["neg_elbo"], plain["neg_elbo"])


def test_free_bits_charge_at_least_lambda_a_dimension() -> None:
    model = small(free_bits=0.7)
    terms = model.terms(batch(), step())
    q = posterior(model, batch().x)
    by_dimension = kl_divergence(q, Normal(0.0, 1.0)).mean(0)
    assert (by_dimension < 0.7).any()
    expected = terms["recon"] + by_dimension.clamp(min=0.7).sum()
    torch.testing.assert_close(terms["loss"].double(), expected.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [-9.0, -0.3, -0.049, 0.0, 0.02, 0.051, 2.0, 9.0])
def test_continuous_bernoulli_is_torch_distributions(logit: float) -> None:
    params = torch.full((1, 1), logit, dtype=torch.float64)
    ours, theirs = ContinuousBernoulli(), TorchContinuousBernoulli(logits=params)
    for x in (0.0, 0.25, 1.0):
        target = torch.full((1, 1), x, dtype=torch.float64)
        expected = -theirs.log_prob(target).item()
        assert ours.nll(params, target).item() == pytest.approx(expected, abs=2e-6)
    # torch.distributions expands around ½ with fewer terms; compare away from there.
    if abs(logit) > 0.04:
        assert ours.mean(params).item() == pytest.approx(theirs.mean.item(), abs=1e-4)


@pytest.mark.parametrize("logit", [-40.0, -2.0, 0.0, 3.0, 90.0])
def test_continuous_bernoulli_draws_have_its_mean(logit: float) -> None:
    params = torch.full((20_000, 1), logit)
    drawn = ContinuousBernoulli().draw(params, noise(exact=True))
    assert torch.isfinite(drawn).all() and drawn.min() >= 0 and drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(
        ContinuousBernoulli().mean(params)[0].item(), abs=0.01
    )


def test_gaussian_is_torch_distributions_and_learns_its_sigma() -> None:
    likelihood = Gaussian(None).double()
    x = torch.randn(50, 3, dtype=torch.float64) * 0.2
    mean = torch.zeros_like(x)
    assert likelihood.log_sigma.exp().item() == pytest.approx(0.1)
    with torch.no_grad():
        likelihood.log_sigma.fill_(0.0)
    expected = -Normal(mean, 1.0).log_prob(x).sum(1)
    torch.testing.assert_close(likelihood.nll(mean, x), expected)
    likelihood.nll(mean, x).mean().backward()
    # d/d log σ = D − Σ x²/σ²
    expected_gradient = 3 - x.square().sum(1).mean()
    assert likelihood.log_sigma.grad is not None
    torch.testing.assert_close(likelihood.log_sigma.grad, expected_gradient)
    assert not Gaussian(0.1).log_sigma.requires_grad


def test_a_plain_autoencoder_has_no_kl_and_draws_nothing() -> None:
    model = small(likelihood="none")
    terms = model.terms(batch(), step())
    x = batch().x
    error = (model.sample(model.encode(x)) - x).square().flatten(1).sum(1).mean()
    # Nothing that a VAE gives in nats: the two would be set side by side.
    assert terms.keys() == {"loss", "squared_error"}
    unclamped = (model.decode(model.encode(x), None) - x).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(terms["squared_error"], unclamped)
    torch.testing.assert_close(2 * terms["loss"], terms["squared_error"])
    assert error <= unclamped
    again = model.terms(batch(), step(number=7))
    assert terms["loss"].item() == again["loss"].item()


def linear_gaussian() -> tuple[VAE, Tensor, Tensor]:
    """A VAE without hidden layers, whose log p(x) is that of N(b, WWᵀ + σ²I)."""
    config = VAEConfig(latent_dim=2, hidden=(), likelihood="gaussian", sigma=0.7)
    torch.manual_seed(4)
    model = VAE(config, DataSpec("points", (3,))).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    weight, bias = model.decoder.out.weight, model.decoder.out.bias
    covariance = weight @ weight.T + 0.7**2 * torch.eye(3, dtype=torch.float64)
    log_p = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    return model, x, log_p


def test_importance_weights_estimate_the_exact_likelihood() -> None:
    model, x, log_p = linear_gaussian()
    log_w = model.log_weights(Batch(x), 40_000, noise())
    estimate = torch.logsumexp(log_w, 0) - math.log(40_000)
    torch.testing.assert_close(estimate, log_p, rtol=0, atol=0.05)


def test_the_importance_weighted_bound_tightens_with_k() -> None:
    model, x, log_p = linear_gaussian()
    many = x.repeat(2000, 1)
    losses = []
    for k in (2, 20):
        model.config = dataclasses.replace(model.config, iwae_k=k)
        losses.append(model.terms(Batch(many), step())["loss"].item())
    terms = model.terms(Batch(many), step())
    torch.testing.assert_close(terms["neg_elbo"], terms["recon"] + terms["kl"])
    elbo = terms["neg_elbo"].item()
    assert elbo > losses[0] > losses[1] > -log_p.mean().item() - 0.02


@pytest.mark.parametrize("sigma", ["per-dim", "network"])
@pytest.mark.parametrize("data", [IMAGE, POINTS], ids=["images", "points"])
def test_a_sigma_for_each_value_is_torch_distributions(sigma: str, data: DataSpec) -> None:
    """−log p(x|z), its gradient and its draws, in the data's own units."""
    model = small(data, likelihood="gaussian", sigma=sigma)
    if model.range is not None:
        model.range.centre.fill_(3.0)
        model.range.scale.fill_(2.0)
    for p in model.likelihood.parameters():
        torch.nn.init.uniform_(p, -2, 0)
    x, z = batch(4, data).x, torch.randn(4, 3, dtype=torch.float64)
    params = model.decode(z, None)
    if sigma == "per-dim":
        mean, deviation = params, model.likelihood.log_sigma.exp().expand_as(params)
    else:
        mean, raw = params.chunk(2, dim=1)
        deviation = torch.exp(-7 + torch.nn.functional.softplus(raw + 7))
    centre, scale = (3.0, 2.0) if model.range is not None else (0.0, 1.0)
    exact = Normal(centre + scale * mean, scale * deviation)
    expected = -exact.log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(model.nll(params, model.inward(x)), expected)

    weights = [p for p in model.parameters() if p.requires_grad]
    ours = torch.autograd.grad(
        model.nll(params, model.inward(x)).sum(), weights, retain_graph=True, allow_unused=True
    )
    theirs = torch.autograd.grad(expected.sum(), weights, allow_unused=True)
    torch.testing.assert_close(ours, theirs)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in ours) > 2

    many = z[:1].expand(20_000, -1)
    drawn = model.likelihood.draw(model.decode(many, None).float(), noise()).double()
    torch.testing.assert_close(drawn.mean(0), mean[0], rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(0), deviation[0], rtol=0.03, atol=0)
    assert model.sample(z).shape == x.shape


@pytest.mark.parametrize("sigma", ["per-dim", "network"])
def test_constant_pixels_do_not_take_the_density_with_them(sigma: str) -> None:
    """Half of the pixels never change: their σ stays at its floor, and the bound stays finite."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent_dim=2, hidden=(16,), likelihood="gaussian", sigma=sigma), IMAGE)  # type: ignore[arg-type]
    x = torch.rand(64, *IMAGE.shape)
    x[:, :, :3] = 0
    model.prepare(x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for i in range(300):
        optimizer.zero_grad()
        loss = model.terms(Batch(x), step(number=i))["loss"]
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.likelihood.after_step()
    _, log_sigma = model.likelihood.moments(model.decode(torch.zeros(1, 2), None))
    assert torch.isfinite(loss)
    constant, free = log_sigma.expand(1, *IMAGE.shape)[0, 0].split(3)
    assert constant.min() >= -7 and constant.mean() < -3.5 and free.mean() > -2.5


def test_dequantised_pixels_are_within_one_grey_level_and_stay_what_they_are() -> None:
    model = small(likelihood="gaussian", dequantize=True)
    pixels = torch.randint(0, 256, (200, *IMAGE.shape), dtype=torch.uint8)
    x, target = model.presented(Batch(pixels / 255, None, pixels), noise())
    assert x is target
    u = x * 256 - pixels
    assert 0 <= u.min() < 0.01 and 0.99 < u.max() < 1 + 1e-4
    assert u.mean().item() == pytest.approx(0.5, abs=0.02)
    again, _ = model.presented(Batch(x), noise(1))
    assert again is x


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 33, 47), (1, 8, 64), (3, 5, 5)])
@pytest.mark.parametrize("net", ["conv", "mlp"])
def test_any_image_shape(shape: tuple[int, int, int], net: str) -> None:
    data = DataSpec("image", shape)
    model = VAE(VAEConfig(net=net, width=4, hidden=(8,)), data)  # type: ignore[arg-type]
    terms = model.terms(Batch(torch.rand(2, *shape)), step())
    assert torch.isfinite(terms["loss"])
    x = model.sample(model.prior(2, sampling_noise(0)))
    assert x.shape == (2, *shape) and x.min() >= 0 and x.max() <= 1


def test_pyramid_reaches_small_sides() -> None:
    sizes, channels = pyramid((1, 28, 28), 32)
    assert sizes == [(28, 28), (14, 14), (7, 7), (4, 4)] and channels == [32, 64, 128]


def test_a_conditional_model_uses_the_label() -> None:
    data = DataSpec("image", (1, 8, 8), ("a", "b", "c"))
    for net in ("mlp", "conv"):
        model = VAE(VAEConfig(net=net, conditional=True, width=4, hidden=(8,)), data)  # type: ignore[arg-type]
        x, z = torch.rand(2, 1, 8, 8), torch.zeros(2, 32)
        one, two = (torch.full((2,), label) for label in (0, 2))
        assert not torch.equal(model.sample(z, one), model.sample(z, two))
        assert not torch.equal(model.encode(x, one), model.encode(x, two))
        with pytest.raises(ValueError, match="needs labels"):
            model.sample(z)


def test_the_output_bias_starts_at_the_data_mean() -> None:
    model = VAE(VAEConfig(hidden=(4,)), DataSpec("image", (1, 2, 2)))
    x = torch.tensor([[0.2, 0.5], [0.9, 0.0]]).expand(10, 1, 2, 2)
    model.prepare(x)
    bias = model.decoder.out.bias
    assert bias is not None
    torch.testing.assert_close(
        torch.sigmoid(bias), torch.tensor([0.2, 0.5, 0.9, 0.001]), rtol=1e-4, atol=1e-5
    )


def test_uint8_and_float_targets_agree() -> None:
    pixels = torch.randint(0, 256, (4, 1, 6, 5), dtype=torch.uint8)
    x = pixels / 255
    for name in ("bernoulli", "gaussian", "continuous-bernoulli", "none"):
        likelihood = make_likelihood(name, 0.3, IMAGE)
        params = torch.randn(4, 1, 6, 5)
        torch.testing.assert_close(likelihood.nll(params, pixels), likelihood.nll(params, x))


def test_points_need_a_density_over_the_plane() -> None:
    with pytest.raises(ValueError, match="gaussian"):
        small(POINTS, likelihood="bernoulli")
    assert small(POINTS).sample(torch.zeros(1, 3, dtype=torch.float64)).shape == (1, 2)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_likelihood_of_points_is_in_their_own_units(scale: float) -> None:
    """Scaling the data by s adds D·log s to −log p(x), and scales the samples by s."""
    losses, samples = [], []
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)).double() + 3
    for factor in (1.0, scale):
        model = small(POINTS, likelihood="gaussian", sigma=0.1 * factor)
        model.prepare(x * factor)
        losses.append(model.terms(Batch(x * factor), step())["neg_elbo"].item())
        samples.append(model.sample(torch.zeros(1, 3, dtype=torch.float64)))
    assert losses[1] == pytest.approx(losses[0] + 2 * math.log(scale), abs=1e-4)
    torch.testing.assert_close(samples[1], samples[0] * scale, rtol=1e-5, atol=0)


def test_a_given_sigma_is_taken_at_its_word() -> None:
    x = torch.zeros(1, 3)
    expected = -Normal(0.0, 1e-4).log_prob(torch.tensor(0.0)).item() * 3
    assert Gaussian(1e-4).nll(x, x).item() == pytest.approx(expected, rel=1e-5)


def test_the_continuous_bernoulli_starts_at_the_data_mean() -> None:
    likelihood, mean = ContinuousBernoulli(), torch.tensor([0.05, 0.3, 0.5, 0.9])
    torch.testing.assert_close(likelihood.mean(likelihood.bias_for(mean)), mean, atol=1e-4, rtol=0)
