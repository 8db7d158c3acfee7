"""Ten steps of each game in float64, beside the same game written out in numpy by hand.

Forward and backward passes, Adam and RMSprop are the papers' formulas here, on numpy arrays:
nothing of torch's autograd or optimizers, but for DCGAN's convolutions. Only
data, first weights and noise are gentool's.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from toy import SPEC

from gentool import ops
from gentool.data import DataOptions, load
from gentool.model import Model, Prepares
from gentool.train.batches import Draw
from gentool.train.distributed import World
from gentool.train.loop import Trainer
from gentool.train.settings import TrainSettings
from gentool_dcgan import DCGANConfig
from gentool_dcgan.model import DCGAN
from gentool_gan import GANConfig
from gentool_gan.model import GAN
from gentool_vae import VAEConfig
from gentool_vae.model import VAE
from gentool_wgan import WGANConfig
from gentool_wgan.model import WGAN
from gentool_wgan.objectives import gradient_penalty

Array = np.ndarray
STEPS, BATCH = 10, 16


class Net:
    """Fully connected layers with an activation between them, and their backward pass."""

    def __init__(self, weights: list[Array], activation: str) -> None:
        self.weights, self.activation = weights, activation  # W0, b0, W1, b1, …

    def forward(self, x: Array) -> Array:
        self.inputs, self.sums = [x], []
        pairs = list(zip(self.weights[::2], self.weights[1::2], strict=True))
        for i, (w, b) in enumerate(pairs):
            x = x @ w.T + b
            self.sums.append(x)
            if i < len(pairs) - 1:
                slope = {"tanh": np.tanh(x), "relu": np.maximum(x, 0)}
                x = slope.get(self.activation, np.where(x > 0, x, 0.2 * x))
            self.inputs.append(x)
        return x

    def backward(self, upstream: Array) -> tuple[list[Array], Array]:
        """Gradients of the weights, and of the input."""
        gradients: list[Array] = []
        last = len(self.sums) - 1
        for i in range(last, -1, -1):
            if i < last:
                x = self.sums[i]
                slopes = {"tanh": 1 - np.tanh(x) ** 2, "relu": (x > 0).astype(float)}
                upstream = upstream * slopes.get(self.activation, np.where(x > 0, 1.0, 0.2))
            gradients = [upstream.T @ self.inputs[i], upstream.sum(0), *gradients]
            upstream = upstream @ self.weights[2 * i]
        return gradients, upstream


class Adam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, lr: float, beta1: float, beta2: float) -> None:
        self.lr, self.betas, self.t = lr, (beta1, beta2), 0
        self.m: list[Array] = []
        self.v: list[Array] = []

    def step(self, weights: list[Array], gradients: list[Array]) -> None:
        self.m = self.m or [np.zeros_like(w) for w in weights]
        self.v = self.v or [np.zeros_like(w) for w in weights]
        self.t += 1
        b1, b2 = self.betas
        for w, g, m, v in zip(weights, gradients, self.m, self.v, strict=True):
            m[...] = b1 * m + (1 - b1) * g
            v[...] = b2 * v + (1 - b2) * g * g
            w -= self.lr * (m / (1 - b1**self.t)) / (np.sqrt(v / (1 - b2**self.t)) + 1e-8)


class RMSprop:
    """Tieleman & Hinton 2012, with a decay of 0.99."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.v: list[Array] = []

    def step(self, weights: list[Array], gradients: list[Array]) -> None:
        self.v = self.v or [np.zeros_like(w) for w in weights]
        for w, g, v in zip(weights, gradients, self.v, strict=True):
            v[...] = 0.99 * v + 0.01 * g * g
            w -= self.lr * g / (np.sqrt(v) + 1e-8)


def arrays(module: torch.nn.Module) -> list[Array]:
    return [p.detach().numpy().copy() for p in module.parameters()]


def normal(stream: str, step: int, width: int) -> Array:
    key = ops.stream_id(stream)
    return ops.normal((BATCH, width), seed=0, stream=key, step=step).double().numpy()


def trained(
    kind: type[Model], config: object, tmp_path: Path, data: str = "ring:200", **options: Any
) -> tuple[Model, Trainer]:
    """A model in float64 on such data, and what will train it."""
    dataset = load(DataOptions(data=data, holdout=0.0, cache=str(tmp_path), **options))
    torch.manual_seed(0)
    model = kind(config, dataset.spec)  # type: ignore[call-arg]
    if isinstance(model, Prepares):
        model.prepare(torch.from_numpy(dataset.train.x.copy()))
    model.double()
    settings = TrainSettings(steps=STEPS, batch_size=BATCH, sample_every=0, seed=0)
    made = Trainer(model, SPEC, dataset, settings, World(torch.device("cpu")))
    if dataset.spec.kind == "points":
        made.loader.x = made.loader.x.double()
    return model, made


def in_double(draw: Draw) -> Draw:
    """The same images, divided in float64."""
    assert draw.batch.pixels is not None
    batch = dataclasses.replace(draw.batch, x=draw.batch.pixels.double() / 255)
    return dataclasses.replace(draw, batch=batch)


def moved(module: torch.nn.Module, before: list[Array], ours: list[Array]) -> None:
    """The weights agree to rounding, and they have moved."""
    for now, then, expected in zip(arrays(module), before, ours, strict=True):
        np.testing.assert_allclose(now, expected, rtol=1e-9, atol=1e-11)
        assert np.abs(now - then).max() > 1e-4


def inward(model: Model, made: Trainer, step: int) -> Array:
    scale = model.range.scale.double().numpy()  # type: ignore[union-attr]
    centre = model.range.centre.double().numpy()  # type: ignore[union-attr]
    u: Array = (made.loader.at(step).batch.x.numpy() - centre) / scale
    return u


def test_vae(tmp_path: Path) -> None:
    q = 3
    config = VAEConfig(
        latent_dim=q, hidden=(6,), activation="tanh", likelihood="gaussian", sigma=0.5, lr=1e-2
    )
    model, made = trained(VAE, config, tmp_path)
    assert isinstance(model, VAE)
    first = arrays(model.encoder), arrays(model.decoder)
    parts = (model.encoder.body, model.encoder.mu, model.encoder.logvar)
    body, mu_net, logvar_net = (Net(arrays(part), "tanh") for part in parts)  # type: ignore[arg-type]
    decoder = Net(arrays(model.decoder), "tanh")
    adam = Adam(1e-2, 0.9, 0.999)
    inner = math.exp(model.likelihood.log_sigma.item())  # type: ignore[operator]
    for t in range(STEPS):
        x = inward(model, made, t)
        hidden = np.tanh(body.forward(x))
        mu, logvar = mu_net.forward(hidden), logvar_net.forward(hidden)
        eps = normal("elbo/z", t, q)
        z = mu + np.exp(logvar / 2) * eps
        mean = decoder.forward(z)
        # L = mean over the batch of ½ Σ ((x − mean)/σ)² + ½ Σ (e^logvar + μ² − 1 − logvar) + const
        to_decoder, to_z = decoder.backward((mean - x) / inner**2 / BATCH)
        to_mu = to_z + mu / BATCH
        to_logvar = to_z * eps * 0.5 * np.exp(logvar / 2) + 0.5 * (np.exp(logvar) - 1) / BATCH
        of_mu, from_mu = mu_net.backward(to_mu)
        of_logvar, from_logvar = logvar_net.backward(to_logvar)
        of_body, _ = body.backward((from_mu + from_logvar) * (1 - hidden**2))
        weights = [*body.weights, *mu_net.weights, *logvar_net.weights, *decoder.weights]
        adam.step(weights, [*of_body, *of_mu, *of_logvar, *to_decoder])
        made.game.take_step(made.loader.at(t))
    moved(model.encoder, first[0], [*body.weights, *mu_net.weights, *logvar_net.weights])
    moved(model.decoder, first[1], decoder.weights)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def test_gan(tmp_path: Path) -> None:
    q, lr = 3, 1e-2
    config = GANConfig(
        latent_dim=q, hidden=(6, 5), dropout=0.0, optimizer="adam", lr=lr, beta1=0.5, beta2=0.9
    )
    model, made = trained(GAN, config, tmp_path)
    assert isinstance(model, GAN)
    first = arrays(model.generator), arrays(model.discriminator)
    g, d = Net(arrays(model.generator), "leaky"), Net(arrays(model.discriminator), "leaky")
    adam_g, adam_d = Adam(lr, 0.5, 0.9), Adam(lr, 0.5, 0.9)
    for t in range(STEPS):
        x, fake = inward(model, made, t), g.forward(normal("discriminator/z", t, q))
        # −log D(x) − log(1 − D(G(z))) has the slopes D − 1 and D in the logit.
        of_real, _ = d.backward((sigmoid(d.forward(x)) - 1) / BATCH)
        of_fake, _ = d.backward(sigmoid(d.forward(fake)) / BATCH)
        adam_d.step(d.weights, [a + b for a, b in zip(of_real, of_fake, strict=True)])
        fake = g.forward(normal("generator/z", t, q))
        _, to_fake = d.backward((sigmoid(d.forward(fake)) - 1) / BATCH)  # −log D(G(z))
        adam_g.step(g.weights, g.backward(to_fake)[0])
        made.game.take_step(made.loader.at(t))
    moved(model.discriminator, first[1], d.weights)
    moved(model.generator, first[0], g.weights)


def test_wgan_with_clipping(tmp_path: Path) -> None:
    q, clip, lr = 3, 0.2, 1e-3
    config = WGANConfig(
        latent_dim=q, hidden=(6, 5), lipschitz="clip", clip=clip, critic_steps=2, lr=lr
    )
    model, made = trained(WGAN, config, tmp_path)
    assert isinstance(model, WGAN)
    first = arrays(model.generator), arrays(model.critic)
    g, f = Net(arrays(model.generator), "relu"), Net(arrays(model.critic), "leaky")
    of_g, of_f = RMSprop(lr), RMSprop(lr)
    one = np.ones((BATCH, 1)) / BATCH
    for t in range(STEPS):
        x, fake = inward(model, made, t), g.forward(normal("critic/z", t, q))
        f.forward(x)
        real_side, _ = f.backward(-one)
        f.forward(fake)
        fake_side, _ = f.backward(one)
        of_f.step(f.weights, [a + b for a, b in zip(real_side, fake_side, strict=True)])
        for w in f.weights:
            np.clip(w, -clip, clip, out=w)
        if t % 2 == 1:
            f.forward(g.forward(normal("generator/z", t // 2, q)))
            _, to_fake = f.backward(-one)
            of_g.step(g.weights, g.backward(to_fake)[0])
        made.game.take_step(made.loader.at(t))
    moved(model.critic, first[1], f.weights)
    moved(model.generator, first[0], g.weights)


def test_gradient_penalty() -> None:
    """Of a critic f(x) = a·tanh(Wx): ∇f = Wᵀ(a ⊙ (1 − tanh²)), and the penalty's own gradient
    with respect to a, by differences of that formula."""
    generator = np.random.default_rng(0)
    w, a = generator.normal(size=(5, 4)), generator.normal(size=5)
    real, fake = generator.normal(size=(7, 4)), generator.normal(size=(7, 4))
    epsilon = generator.uniform(size=(7, 1))

    def by_hand(a: Array) -> float:
        x = epsilon * real + (1 - epsilon) * fake
        slope = (a * (1 - np.tanh(x @ w.T) ** 2)) @ w
        return float(((np.linalg.norm(slope, axis=1) - 1) ** 2).mean())

    weight, outer = torch.from_numpy(w), torch.from_numpy(a).requires_grad_()
    sides = (torch.from_numpy(v) for v in (real, fake, epsilon))
    found = gradient_penalty(lambda x: torch.tanh(x @ weight.T) @ outer, *sides)
    assert found.item() == pytest.approx(by_hand(a), rel=1e-12)
    found.backward()  # a second differentiation
    assert outer.grad is not None
    for i in range(5):
        h = 1e-6 * np.eye(5)[i]
        numeric = (by_hand(a + h) - by_hand(a - h)) / 2e-6
        assert outer.grad[i].item() == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert math.isfinite(found.item())


def batch_norm(h: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), correction=0, keepdim=True)
    return (h - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]


def dcgan_generator(z: torch.Tensor, w: list[torch.Tensor]) -> torch.Tensor:
    """The paper's layers for 16×16, written out: 4×4 → 8×8 → 16×16."""
    h = functional.conv_transpose2d(z[:, :, None, None], w[0])
    h = functional.conv_transpose2d(batch_norm(h, w[1], w[2]).relu(), w[3], None, 2, 1)
    return functional.conv_transpose2d(batch_norm(h, w[4], w[5]).relu(), w[6], None, 2, 1).tanh()


def dcgan_discriminator(u: torch.Tensor, w: list[torch.Tensor]) -> torch.Tensor:
    h = functional.leaky_relu(functional.conv2d(u, w[0], None, 2, 1), 0.2)
    h = functional.leaky_relu(batch_norm(functional.conv2d(h, w[1], None, 2, 1), w[2], w[3]), 0.2)
    return functional.conv2d(h, w[4]).flatten()


def test_dcgan(tmp_path: Path) -> None:
    """Its networks written out with torch's convolutions, and their derivatives by torch; the
    objectives as binary cross-entropies and Adam by hand."""
    q, lr = 3, 1e-2
    config = DCGANConfig(latent_dim=q, width=2, lr=lr)
    model, made = trained(DCGAN, config, tmp_path, "glyphs:200", size="16")
    assert isinstance(model, DCGAN)
    first = arrays(model.generator), arrays(model.discriminator)
    g, d = arrays(model.generator), arrays(model.discriminator)
    adam_g, adam_d = Adam(lr, 0.5, 0.999), Adam(lr, 0.5, 0.999)
    cross_entropy = functional.binary_cross_entropy_with_logits

    def leaves(weights: list[Array]) -> list[torch.Tensor]:
        return [torch.from_numpy(w).clone().requires_grad_() for w in weights]

    for t in range(STEPS):
        x = made.loader.at(t).batch.pixels
        assert x is not None
        gen, dis = leaves(g), leaves(d)
        fake = dcgan_generator(torch.from_numpy(normal("discriminator/z", t, q)), gen).detach()
        real, forged = (dcgan_discriminator(u, dis) for u in (2 * (x.double() / 255) - 1, fake))
        loss = cross_entropy(real, torch.ones_like(real))
        loss = loss + cross_entropy(forged, torch.zeros_like(forged))
        adam_d.step(d, [v.numpy() for v in torch.autograd.grad(loss, dis)])
        fake = dcgan_generator(torch.from_numpy(normal("generator/z", t, q)), gen)
        logits = dcgan_discriminator(fake, leaves(d))
        loss = cross_entropy(logits, torch.ones_like(logits))
        adam_g.step(g, [v.numpy() for v in torch.autograd.grad(loss, gen)])
        made.game.take_step(in_double(made.loader.at(t)))
    moved(model.discriminator, first[1], d)
    moved(model.generator, first[0], g)
