"""p(x|z): what the decoder's output means.

Each likelihood gives −log p(x|z) summed over the dimensions of x, in nats; the mean image; and a
draw x ~ p(x|z). `params` is the decoder's output: (N, outputs·C, H, W) for images, (N, outputs·D)
for points.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import ops
from gentool.nn import at_least_fp32
from gentool.noise import Noise
from gentool.spec import DataSpec


class Likelihood(nn.Module):
    """Base class.

    Attributes:
        density: whether `nll` is a normalised −log p(x|z).
        outputs: numbers that the decoder gives for each value of an example.
    """

    density = True
    outputs = 1

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """−log p(x|z) of `target` (float in [0, 1], or uint8 read as t/255): (N,), nats."""
        raise TypeError(f"{type(self).__name__} has no nll()")

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        """log p(x_i|z) of each value of `target` (float, of the shape of `params`), nats; their
        sum is −`nll`."""
        raise TypeError(f"{type(self).__name__} has no log_prob()")

    def mean(self, params: Tensor) -> Tensor:
        """E[x|z], of the shape of the examples."""
        raise TypeError(f"{type(self).__name__} has no mean()")

    def draw(self, params: Tensor, noise: Noise) -> Tensor:
        """x ~ p(x|z), of the shape of the examples."""
        raise TypeError(f"{type(self).__name__} has no draw()")

    def after_step(self) -> None:
        """Called after each update of the weights, without gradients."""

    def bias_for(self, mean: Tensor) -> Tensor:
        """The output bias, `outputs` times as long, under which E[x|z] starts as `mean`."""
        return mean


class Bernoulli(Likelihood):
    """log p(x|z) = Σ x·log ρ + (1 − x)·log(1 − ρ), ρ = sigmoid(params).

    On grey pixels this is the usual training loss but no density over [0, 1]; with binarised
    pixels, or ``continuous-bernoulli``, it is one.
    """

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        return ops.bce_with_logits(params, target)

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return params * target - F.softplus(params)

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)

    def draw(self, params: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform("x", tuple(params.shape))
        return (u < torch.sigmoid(params)).to(params.dtype)

    def bias_for(self, mean: Tensor) -> Tensor:
        # Pixels that are always 0 or 1 would ask for an infinite logit.
        return torch.logit(mean.clamp(1e-3, 1 - 1e-3))


class ContinuousBernoulli(Bernoulli):
    """The Bernoulli's formula, normalised over [0, 1]: Loaiza-Ganem & Cunningham 2019, eq. 3–5.

    With logit l, the constant of the paper is C = l / tanh(l/2), and C(0) = 2.
    """

    near = 0.05
    """Below this |l| the closed forms cancel, and their series take over."""

    def log_constant(self, logit: Tensor) -> Tensor:
        """log C(l), elementwise, in fp32."""
        logit = at_least_fp32(logit)
        small = logit.abs() < self.near
        safe = torch.where(small, torch.ones_like(logit), logit).abs()
        series = math.log(2.0) + logit.square() / 12
        return torch.where(small, series, safe.log() - torch.tanh(safe / 2).log())

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        constant = self.log_constant(params).flatten(1).sum(1)
        return super().nll(params, target) - constant

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return super().log_prob(params, target) + self.log_constant(params)

    def mean(self, params: Tensor) -> Tensor:
        small = params.abs() < self.near
        safe = torch.where(small, torch.ones_like(params), params)
        series = 0.5 + params / 12
        return torch.where(small, series, -1 / torch.expm1(-safe) - 1 / safe)

    def bias_for(self, mean: Tensor) -> Tensor:
        """Inverts `mean`, which rises with the logit, by bisection."""
        low, high = torch.full_like(mean, -50.0), torch.full_like(mean, 50.0)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.mean(middle) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def draw(self, params: Tensor, noise: Noise) -> Tensor:
        """Inverts the CDF (e^{lx} − 1)/(e^l − 1), mirrored so that no exponential overflows."""
        u = noise.uniform("x", tuple(params.shape))
        small = params.abs() < 1e-3
        logit = -torch.where(small, torch.ones_like(params), params).abs()
        x = torch.log1p(u * torch.expm1(logit)) / logit
        return torch.where(small, u, torch.where(params > 0, 1 - x, x)).clamp(0, 1)


SMALLEST_LOG_SIGMA = -7.0
"""The floor of a learned log σ: σ ≥ 0.0009, a quarter of a grey level. Without one, σ goes to 0
where a pixel is the same in every image, and the density to infinity."""

START = math.log(0.1)
"""A learned log σ starts small: from σ = 1 on, ignoring z is cheaper than the first steps towards
using it, and training stays there (posterior collapse)."""


class Gaussian(Likelihood):
    """x | z ~ N(params, diag σ²), with σ a parameter beside the networks.

    −log p(x|z) = ½ Σ_i ((x_i − μ_i(z)) / σ_i)² + Σ_i log σ_i + (D/2) log 2π.
    """

    def __init__(self, sigma: float | None, shape: tuple[int, ...] = ()) -> None:
        """`sigma` fixes it; with None it is learned, one for all values or, by `shape`, each."""
        super().__init__()
        log_sigma = torch.full(shape, START if sigma is None else math.log(sigma))
        self.log_sigma = nn.Parameter(log_sigma, requires_grad=sigma is None)

    def moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ, which broadcast to the shape of the examples."""
        return params, self.log_sigma.to(params.dtype)

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        mean, log_sigma = self.moments(at_least_fp32(params))
        target = _as_float(target, mean)
        squares = ((target - mean) * torch.exp(-log_sigma)).square().flatten(1).sum(1)
        if log_sigma.dim() == 0:  # one for all: D log σ
            return 0.5 * squares + mean[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
        logs = log_sigma.expand_as(mean).flatten(1).sum(1)
        return 0.5 * squares + logs + mean[0].numel() * 0.5 * math.log(2 * math.pi)

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        mean, log_sigma = self.moments(params)
        z = (target - mean) * torch.exp(-log_sigma)
        return -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)

    def mean(self, params: Tensor) -> Tensor:
        return self.moments(params)[0]

    def draw(self, params: Tensor, noise: Noise) -> Tensor:
        mean, log_sigma = self.moments(params)
        return mean + torch.exp(log_sigma) * noise.normal("x", tuple(mean.shape))

    def after_step(self) -> None:
        """Keep a learned σ from 0, where it goes on data with constant pixels."""
        if self.log_sigma.requires_grad:
            self.log_sigma.clamp_(min=SMALLEST_LOG_SIGMA)


class NetworkGaussian(Gaussian):
    """x | z ~ N(μ(z), diag σ²(z)): the decoder gives both, as in Kingma & Welling 2014, App. C.2.

    The second half of its outputs, r, is log σ above a soft floor: log σ = floor + softplus(r −
    floor), so that no pixel's density grows without bound, and there is a gradient everywhere.
    """

    outputs = 2

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = params.chunk(2, dim=1)
        return mean, SMALLEST_LOG_SIGMA + F.softplus(raw - SMALLEST_LOG_SIGMA)

    def bias_for(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.full_like(mean, START)])

    def after_step(self) -> None:
        """The floor is in `moments`."""


class SquaredError(Likelihood):
    """½‖x − x̂‖²: the plain autoencoder of the lectures. Not a density, so z is not drawn, and
    nothing that a VAE reports in nats is reported."""

    density = False

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        wide = at_least_fp32(params)
        difference = wide - _as_float(target, wide)
        return 0.5 * difference.square().flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return params

    def draw(self, params: Tensor, noise: Noise) -> Tensor:
        return params


def support_of(
    likelihood: Likelihood, binarize: bool
) -> Literal["binary", "grey", "continuous"] | None:
    """What p(x|z) is a probability of, as `gentool.model.Model.support` says it."""
    if not likelihood.density:
        return None
    if isinstance(likelihood, Bernoulli) and not isinstance(likelihood, ContinuousBernoulli):
        return "binary" if binarize else "grey"
    return "continuous"


def _as_float(target: Tensor, like: Tensor) -> Tensor:
    if target.dtype == torch.uint8:
        return torch.true_divide(target, 255).to(like.dtype)
    return target.to(like.dtype)


def make_likelihood(name: str, sigma: float | str | None, data: DataSpec) -> Likelihood:
    """The likelihood of that name for such data; raises ValueError."""
    kind = data.kind
    if name == "auto":
        name = "bernoulli" if kind == "image" else "gaussian"
    if kind == "points" and "bernoulli" in name:
        raise ValueError(
            f"--likelihood {name} is for images in [0, 1]; for points use --likelihood gaussian"
        )
    if name == "gaussian":
        return gaussian(sigma, data.shape)
    return {"bernoulli": Bernoulli, "continuous-bernoulli": ContinuousBernoulli}.get(
        name, SquaredError
    )()


def gaussian(sigma: float | str | None, shape: tuple[int, ...]) -> Gaussian:
    """The Gaussian of ``--sigma``: a number, "per-dim", "network", or None for one learned σ."""
    if sigma == "network":
        return NetworkGaussian()
    if isinstance(sigma, str):
        return Gaussian(None, shape)
    return Gaussian(sigma)
