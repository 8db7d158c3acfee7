"""The variational autoencoder (Kingma & Welling 2014), with the lecture's names.

encoder   q(z|x) = N(μ(x), diag σ²(x))
sample    z = μ + σ ⊙ ε,  ε ~ N(0, I)
decoder   p(x|z)
minimise  −ELBO = −E_q[log p(x|z)] + KL(q(z|x) ‖ N(0, I))
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gentool import ops
from gentool.model import Adam, Batch, Model, Objective, Player, Step, conditioned
from gentool.nn import Range, at_least_fp32, one_hot
from gentool.noise import Noise
from gentool.spec import DataSpec
from gentool_vae import VAEConfig
from gentool_vae.likelihoods import Gaussian, make_likelihood, support_of
from gentool_vae.networks import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    glorot_,
)


class VAE(Model):
    """A game of one player, who maximises the ELBO."""

    def __init__(self, config: VAEConfig, data: DataSpec) -> None:
        """Raises ValueError where config and data do not fit together."""
        super().__init__()
        if config.net == "conv" and data.kind != "image":
            raise ValueError("--net conv is for images; for points use --net mlp")
        self.config, self.data = config, data
        self.latent_shape = (config.latent_dim,)
        self.classes, self.condition = conditioned(config.conditional, config.condition, data)
        self.likelihood = make_likelihood(config.likelihood, config.sigma, data)
        self.support = support_of(self.likelihood, config.binarize)
        # Points may lie anywhere; the networks see them centred and scaled.
        self.range = Range(data.kind, data.shape) if data.kind == "points" else None
        self.encoder: ConvEncoder | MLPEncoder
        self.decoder: ConvDecoder | MLPDecoder
        given = (self.likelihood.outputs * data.shape[0], *data.shape[1:])  # by the decoder
        if config.net == "conv":
            sizes = (self.told, config.width, config.latent_dim, config.activation)
            self.encoder = ConvEncoder(data.shape, *sizes)
            self.decoder = ConvDecoder(given, *sizes)
        else:
            widths = (self.told, config.hidden, config.latent_dim, config.activation)
            self.encoder = MLPEncoder(data.size, *widths)
            self.decoder = MLPDecoder(given, *widths)
        if config.init == "glorot":
            glorot_(self)

    def players(self) -> Sequence[Player]:
        adam = Adam(self.config.lr, eps=self.config.adam_eps)
        after = self.likelihood.after_step
        return [Player("elbo", self, self.objective, adam, after_step=after)]

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Measure where points lie; start the decoder at the mean example, as in the IWAE paper."""
        if self.range is not None:
            self.range.fit(x)
            x = self.inward(x)
            if isinstance(self.config.sigma, float) and isinstance(self.likelihood, Gaussian):
                sigma = self.config.sigma / self.range.scale  # given in the data's units
                self.likelihood.log_sigma.copy_(sigma.log())
        mean = x.mean(0) if self.config.net == "mlp" else x.mean((0, 2, 3))
        bias = self.decoder.out.bias
        assert bias is not None
        bias.copy_(self.likelihood.bias_for(mean).flatten())

    def objective(self, batch: Batch, step: Step) -> Objective:
        """−ELBO = −E_q log p(x|z) + β KL(q(z|x) ‖ p(z)), or the bound that was asked for."""
        terms = self.terms(batch, step)
        return Objective(terms.pop("loss"), terms)

    def evaluate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The loss and its parts, means over the batch, in nats an example.

        Returns:
            loss: what is minimised, with β, warm-up, free bits or the importance-weighted bound;
            neg_elbo = recon + kl; recon = −E_q log p(x|z); kl = KL(q(z|x) ‖ N(0, I)).
            A plain autoencoder, which has no likelihood, gives its squared_error instead.
        """
        x, target = self.presented(batch, step.noise)
        x, target = self.inward(x), self.inward(target)
        if self.config.iwae_k > 1:
            k = self.config.iwae_k
            log_w, recon, kl = self.weigh(x, target, self.given(batch), k, step.noise)
            loss = -(torch.logsumexp(log_w, 0) - math.log(self.config.iwae_k)).mean()
            return {"loss": loss, "neg_elbo": recon + kl, "recon": recon, "kl": kl}

        mu, logvar = self.encode_moments(x, self.given(batch))
        if not self.likelihood.density:  # q(z|x) is the point μ(x), and nothing is regularised
            loss = self.nll(self.decode(mu, self.given(batch)), target).mean()
            return {"loss": loss, "squared_error": 2 * loss}
        z, kl = ops.reparam_kl(mu, logvar, **step.noise.key("z"))
        recon = self.nll(self.decode(z, self.given(batch)), target)
        loss = (recon + self.kl_weight(step.progress) * self.charged(kl, mu, logvar)).mean()
        recon, kl = recon.mean(), kl.mean()
        return {"loss": loss, "neg_elbo": recon + kl, "recon": recon, "kl": kl}

    def kl_weight(self, progress: Tensor) -> Tensor | float:
        """β, rising from 0 over the first `kl_warmup` of training (Bowman et al. 2016)."""
        if self.config.kl_warmup == 0:
            return self.config.beta
        return self.config.beta * (progress / self.config.kl_warmup).clamp(max=1.0)

    def charged(self, kl: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """The KL that the loss pays for: all of it, or Σ_j max(λ, KL_j) with free bits λ.

        KL_j is the batch mean of dimension j (Kingma et al. 2016, eq. 15).
        """
        if not self.config.free_bits:
            return kl
        mu, logvar = at_least_fp32(mu), at_least_fp32(logvar)
        by_dimension = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).mean(0)
        return by_dimension.clamp(min=self.config.free_bits).sum()

    def inward(self, x: Tensor) -> Tensor:
        """Points as the networks see them; images as they are."""
        return x if self.range is None else self.range.inward(x)

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """−log p(x|z), (N,), nats, in the data's own units, of a target that went `inward`."""
        nll = self.likelihood.nll(params, target)
        if self.range is None or not self.likelihood.density:
            return nll
        # x = centre + scale·u, so p(x) = p(u) / scale^D.
        return nll + self.data.size * self.range.scale.to(nll.dtype).log()

    def presented(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """What the encoder sees, and what the decoder is held to."""
        if self.config.binarize and self.data.kind == "image":
            x = (noise.uniform("binarize", tuple(batch.x.shape)) < batch.x).to(batch.x.dtype)
            return x, x
        if self.config.dequantize and batch.pixels is not None:
            u = noise.uniform("dequantize", tuple(batch.x.shape))
            x = (batch.pixels + u) / 256
            return x, x
        return batch.x, batch.x if batch.pixels is None else batch.pixels

    def encode_moments(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each (N, latent_dim)."""
        moments: tuple[Tensor, Tensor] = self.encoder(x, one_hot(labels, self.told, x))
        return moments

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The most likely latent of x, μ(x): (N, latent_dim)."""
        return self.encode_moments(self.inward(x), labels)[0]

    def infer(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x) for x as in `Batch.x`, each (N, latent_dim)."""
        return self.encode_moments(self.inward(x), labels)

    def explain(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x_i|z) of each value of x, (N, *shape), nats."""
        params = at_least_fp32(self.decode(z, labels))
        each = self.likelihood.log_prob(params, self.inward(x))
        return each if self.range is None else each - self.range.scale.to(each.dtype).log()

    def decode(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """The parameters of p(x|z), as the likelihood reads them."""
        params: Tensor = self.decoder(z, one_hot(labels, self.told, z))
        return params

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        params = at_least_fp32(self.decode(z, labels))
        if noise is None:
            x = self.likelihood.mean(params)
        else:
            x = self.likelihood.draw(params, noise)
        return x.clamp(0, 1) if self.range is None else self.range.outward(x)

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        """log p(x, z_i) − log q(z_i|x) for k latents an example: (k, N), nats."""
        x, target = self.presented(batch, noise)
        x, target = self.inward(x), self.inward(target)
        return self.weigh(x, target, self.given(batch), k, noise)[0]

    def weigh(
        self, x: Tensor, target: Tensor, labels: Tensor | None, k: int, noise: Noise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Importance weights of k latents an example (Burda et al. 2016, eq. 8).

        Returns:
            log w (k, N) = log p(x|z) + log p(z) − log q(z|x); and the means of −log p(x|z) and of
            the closed-form KL.
        """
        mu, logvar = (at_least_fp32(m) for m in self.encode_moments(x, labels))
        n, d = mu.shape
        eps = noise.normal("z", (n, k, d)).to(mu.dtype).transpose(0, 1)
        z = mu + torch.exp(0.5 * logvar) * eps
        if labels is not None:
            labels = labels.repeat(k, *[1] * (labels.dim() - 1))
        params = self.decode(z.reshape(k * n, d), labels)
        repeated = target.expand(k, *target.shape).reshape(k * n, *target.shape[1:])
        nll = self.nll(params, repeated).view(k, n)
        # log p(z) − log q(z|x): the factors (2π)^{−d/2} cancel, and (z − μ)/σ is ε.
        log_ratio = 0.5 * (eps.square() + logvar - z.square()).sum(-1)
        kl = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum(-1)
        return log_ratio - nll, nll.mean(), kl.mean()
