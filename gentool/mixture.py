"""A prior after training: a Gaussian mixture fitted to where the encoder puts the training data.

A VAE's samples are drawn from p(z), but its codes lie where the aggregated posterior is, and the
decoder has seen nothing else. Fitting a density to the codes and drawing from that is the ex-post
density estimation of Ghosh et al. 2020 (From variational to deterministic autoencoders, section 4),
who take 10 components with full covariances.
"""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gentool.console import Progress
from gentool.data.dataset import Split
from gentool.errors import UserError, printable
from gentool.files import read_regular, user_errors
from gentool.loading import LoadedModel
from gentool.model import Encodes, Model
from gentool.noise import Noise
from gentool.runs import Run
from gentool.weights import read_open_tensors, tensor_bytes

MOST_COMPONENTS, MOST_CODES = 1000, 50_000
MOST_ROUNDS, GAIN = 200, 1e-4
"""Rounds of EM, and what the mean log-likelihood has to gain in one, in nats."""

RIDGE = 1e-6
"""Added to each covariance's diagonal, in variances of the codes."""

MOST_FILE = 2**31


@dataclass(frozen=True)
class Mixture:
    """Σ_k w_k N(m_k, L_k L_kᵀ), in float64 on the CPU.

    Attributes:
        weights: (K,), positive, sum 1.
        means: (K, D).
        factors: L, lower triangular, (K, D, D).
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of rows (N, D), nats: (N,)."""
        return self.joint(z).logsumexp(1)

    def joint(self, z: Tensor) -> Tensor:
        """log w_k + log N(z; m_k, Σ_k): (N, K)."""
        d = z.shape[1]
        columns = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            white = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)
            half = factor.diagonal().log().sum()
            columns.append(weight.log() - half - 0.5 * white.square().sum(0))
        return torch.stack(columns, 1) - 0.5 * d * math.log(2 * math.pi)

    def draw(self, n: int, noise: Noise) -> Tensor:
        """Float32 rows (n, D), the same for one noise wherever it draws."""
        u = noise.uniform("component", (n,)).double().cpu()
        eps = noise.normal("z", (n, self.means.shape[1])).double().cpu()
        bounds = self.weights.cumsum(0)[:-1].contiguous()
        chosen = torch.searchsorted(bounds, u, right=True)
        z = self.means[chosen]
        for k in chosen.unique().tolist():
            rows = chosen == k
            z[rows] += eps[rows] @ self.factors[k].T
        return z.float()


def components(text: str) -> int:
    """How many ``mixture:10`` asks for; raises UserError for what asks for nothing known."""
    match = re.fullmatch(r"mixture(?::([0-9]{1,6}))?", text)
    count = int(match[1] or 10) if match else 0
    if not 1 <= count <= MOST_COMPONENTS:
        raise UserError(
            f"--prior {printable(text, 60)!r} is unknown; it takes mixture:K, K from 1 to "
            f"{MOST_COMPONENTS}, such as mixture:10"
        )
    return count


def fit(z: Tensor, k: int, seed: int = 0) -> Mixture:
    """The mixture of k Gaussians that EM finds from k-means++ centres; rows z (N, D).

    Raises:
        UserError: for fewer rows than components, or codes that are no numbers.
    """
    z = z.double()
    n, d = z.shape
    if n < k or not z.isfinite().all():
        raise UserError(f"{k} Gaussians cannot be fitted to {n} codes; ask for fewer")
    ridge = RIDGE * z.var(0, correction=0).mean().clamp(min=1e-12) * torch.eye(d).double()
    nearest = torch.cdist(z, _centres(z, k, torch.Generator().manual_seed(seed))).argmin(1)
    shares = torch.nn.functional.one_hot(nearest, k).double()
    before = -math.inf
    for _ in range(MOST_ROUNDS):
        mixture = _maximised(z, shares, ridge)
        joint = mixture.joint(z)
        evidence = joint.logsumexp(1, keepdim=True)
        shares = (joint - evidence).exp()
        now = evidence.mean().item()
        if now - before < GAIN:
            break
        before = now
    return mixture


def _maximised(z: Tensor, shares: Tensor, ridge: Tensor) -> Mixture:
    """The M step: shares (N, K) of each row in each component."""
    counts = shares.sum(0).clamp(min=1e-9)
    means = shares.T @ z / counts[:, None]
    factors = []
    for k, mean in enumerate(means):
        centred = z - mean
        covariance = (shares[:, k, None] * centred).T @ centred / counts[k]
        factors.append(torch.linalg.cholesky(covariance + ridge))
    return Mixture(counts / counts.sum(), means, torch.stack(factors))


def _centres(z: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k rows, each drawn with a chance in proportion to its squared distance (k-means++)."""
    chosen = [z[int(torch.randint(len(z), (1,), generator=generator))]]
    distance = torch.full((len(z),), math.inf, dtype=z.dtype)
    for _ in range(k - 1):
        distance = torch.minimum(distance, (z - chosen[-1]).square().sum(1))
        weights = distance if distance.sum() > 0 else torch.ones_like(distance)
        bounds = weights.cumsum(0)
        u = torch.rand(1, generator=generator, dtype=z.dtype) * bounds[-1]
        chosen.append(z[min(int(torch.searchsorted(bounds, u, right=True)), len(z) - 1)])
    return torch.stack(chosen)


def codes(model: Model, split: Split, progress: Progress = lambda *_: None) -> Tensor:
    """Encodings of up to `MOST_CODES` examples spread over a split: float32 (N, D), on the CPU."""
    count = min(MOST_CODES, len(split))
    rows = np.arange(count) * len(split) // count
    assert isinstance(model, Encodes)
    device = next(model.parameters()).device
    found = []
    for start in range(0, count, 500):
        progress("encoding", start, count)
        x = torch.from_numpy(np.array(split.x[rows[start : start + 500]]))
        x = torch.true_divide(x, 255) if x.dtype == torch.uint8 else x
        with torch.inference_mode():
            found.append(model.encode(x.to(device)).flatten(1).float().cpu())
    progress("encoding", count, count)
    return torch.cat(found)


def with_mixture(
    loaded: LoadedModel, file: Path, run: Run | None, k: int, data: Callable[[], Split]
) -> LoadedModel:
    """The model with the mixture in the place of its prior, for sampling alone.

    Args:
        file: the model's; a mixture that was kept beside it counts only for this very model.
        run: where it is kept; None keeps it nowhere.
        data: gives the training split, where it has to be fitted.

    Raises:
        UserError: for a model without an encoder, or one that is told labels.
    """
    model = loaded.model
    if not isinstance(model, Encodes) or model.told:
        lack = "is told labels" if isinstance(model, Encodes) else "has no encoder"
        raise UserError(f"--prior mixture is for models that encode by themselves; this one {lack}")
    digest = hashlib.sha256(read_regular(file.resolve(), MOST_FILE)).digest()
    mixture = None if run is None else _kept(run, k, digest, math.prod(model.latent_shape))
    if mixture is None:
        mixture = fit(codes(model, data()), k)
        if run is not None:
            _keep(run, k, digest, mixture)
    fitted = mixture

    def prior(n: int, noise: Noise) -> Tensor:
        return fitted.draw(n, noise).view(n, *model.latent_shape).to(noise.device)

    changed = copy.copy(model)  # the same weights under another prior
    object.__setattr__(changed, "prior", prior)
    return replace(loaded, model=changed)


def _name(k: int) -> str:
    return f"prior-mixture-{k}.safetensors"


def _keep(run: Run, k: int, digest: bytes, mixture: Mixture) -> None:
    tensors = {
        "weights": mixture.weights,
        "means": mixture.means,
        "factors": mixture.factors,
        "model": torch.tensor(list(digest), dtype=torch.uint8),
    }
    with run.folder() as folder, user_errors("the prior", run.path / _name(k)):
        folder.write(_name(k), tensor_bytes(tensors))


def _kept(run: Run, k: int, digest: bytes, size: int) -> Mixture | None:
    """What was fitted to this very model before; anything else counts as nothing."""
    with run.folder() as folder:
        try:
            with folder.open(_name(k), MOST_FILE) as file:
                tensors = read_open_tensors(file, run.path / _name(k))
        except (OSError, UserError):
            return None
    shapes = {"weights": (k,), "means": (k, size), "factors": (k, size, size)}
    own = tensors.get("model")
    if own is None or own.dtype != torch.uint8 or bytes(own.flatten().tolist()) != digest:
        return None
    for name, shape in shapes.items():
        t = tensors.get(name)
        if t is None or tuple(t.shape) != shape or t.dtype != torch.float64:
            return None
        if not t.isfinite().all():
            return None
    weights = tensors["weights"]
    if not (weights > 0).all() or abs(float(weights.sum()) - 1) > 1e-6:
        return None
    return Mixture(weights.clone(), tensors["means"].clone(), tensors["factors"].tril().clone())
