"""What a model with a likelihood says of held-out data: bounds, −log p(x), and its latents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.data.dataset import Split
from gentool.metrics.threads import each
from gentool.model import Batch, Encodes, Evaluates, HasLikelihood, Model, Presents, Step
from gentool.noise import Noise

IMAGES, CHUNK = 20, 50
"""Examples, and latents of each, that are decoded at a time on the CPU."""

GPU_FACTOR = 5
ACTIVE = 0.01


@dataclass(frozen=True)
class Estimates:
    """Importance-sampled estimates, one an example, float64 (N,) in nats.

    Attributes:
        nll: −log p̂_k(x), whose expectation is at least −log p(x).
        bound: the mean of −log w, an estimate of the negative ELBO.
        effective: (Σw)² / Σw², the effective number of latents, from 1 to k.
    """

    nll: Tensor
    bound: Tensor
    effective: Tensor


def importance_weighted(
    model: HasLikelihood,
    batches: Sequence[Callable[[], Batch]],
    k: int,
    *,
    seed: int,
    device: torch.device,
    chunk: int = CHUNK,
    progress: Progress = lambda what, done, total: None,
) -> Estimates:
    """−log p̂_k(x) = −log (1/k) Σ_i p(x, z_i) / q(z_i|x)  (Burda et al. 2016, eq. 8).

    The latents come in chunks and only running sums are kept, so memory does not depend on k. Up
    to one chunk it is the formula as it stands; beyond, it equals it up to rounding.

    Args:
        batches: functions that make the batches; on the CPU several threads call them, and the
            model's `log_weights`, at a time.
        k: latents an example.
        chunk: latents drawn at a time; each chunk has random streams of its own.
    """

    def weigh(number: int) -> Tensor:
        step = torch.tensor(number, device=device)
        batch = _fixed(model, batches[number](), Noise(seed, "likelihood/x", step, device))
        logs = torch.full((2, len(batch.x)), -math.inf, dtype=torch.float64)
        linear = torch.zeros(len(batch.x), dtype=torch.float64)
        for i, start in enumerate(range(0, k, chunk)):
            noise = Noise(seed, f"likelihood/{i}", step, device)
            log_w = model.log_weights(batch, min(chunk, k - start), noise).cpu().double()
            new = torch.stack([log_w.logsumexp(0), (2 * log_w).logsumexp(0)])
            logs = torch.logaddexp(logs, new)
            linear += log_w.sum(0)
        return torch.stack([math.log(k) - logs[0], -linear / k, 2 * logs[0] - logs[1]])

    parts = []
    for part in each(weigh, range(len(batches)), device):
        parts.append(part)
        progress("weighing latents", len(parts), len(batches))
    nll, bound, log_effective = torch.cat(parts, 1)
    return Estimates(nll, bound, log_effective.exp())


def _fixed(model: object, batch: Batch, noise: Noise) -> Batch:
    """The batch as the model would present it to itself, once and for all."""
    if not isinstance(model, Presents):
        return batch
    x, _ = model.presented(batch, noise)
    return batch if x is batch.x else dataclasses.replace(batch, x=x, pixels=None)


def examples(
    split: Split, n: int, device: torch.device, *, size: int, dequantised: int | None = None
) -> list[Callable[[], Batch]]:
    """The first n examples of a split as models see them: functions that make the batches.

    Args:
        size: examples a batch.
        dequantised: the seed of uniform noise u to be added to the pixels: x = (t + u)/256, the
            only form in which a density over [0, 1] bounds the probability of the pixels.
    """
    from gentool.train.batches import as_tensor

    def batch(start: int) -> Batch:
        rows = slice(start, min(n, start + size))
        x = as_tensor(split.x[rows]).to(device)
        labels = None if split.labels is None else as_tensor(split.labels[rows]).to(device)
        values = split.attributes
        attributes = None if values is None else as_tensor(values[rows]).to(device)
        if x.dtype != torch.uint8:
            return Batch(x, labels, attributes=attributes)
        if dequantised is None:
            return Batch(torch.true_divide(x, 255), labels, x, attributes)
        noise = Noise(dequantised, "dequantise", torch.tensor(start, device=device), device)
        x = (x + noise.uniform("u", tuple(x.shape))) / 256
        return Batch(x, labels, attributes=attributes)

    return [partial(batch, start) for start in range(0, min(n, len(split)), size)]


def nll(
    model: Model,
    split: Split,
    *,
    n: int,
    k: int,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, float]:
    """Importance-weighted −log p(x) of the first n test examples, in nats an example.

    nll            mean of −log p̂_k(x); an upper bound in expectation, tighter with larger k
    nll_error      its standard error over examples
    nll_bound      the same latents in the plain bound, k = 1
    nll_effective  median effective number of latents; a few means that k is too small

    What p(x|z) is, a model says by its optional attribute `support`: "binary", a probability of
    pixels that are 0 or 1; "continuous", a density; "grey", Bernoulli terms on grey pixels, which
    are neither; None, no likelihood. Without it nothing is assumed.

    For a model of continuous values, on images, x is dequantised, and

    bits_per_dim   (nll / ln 2) / D + 8, in bits a pixel of 256 levels (Theis et al. 2016)
    """
    assert isinstance(model, HasLikelihood)
    factor = 1 if device.type == "cpu" else GPU_FACTOR
    continuous = getattr(model, "support", None) == "continuous" and model.data.kind == "image"
    batches = examples(
        split, n, device, size=IMAGES * factor, dequantised=seed if continuous else None
    )
    found = importance_weighted(
        model, batches, k, seed=seed, device=device, chunk=CHUNK * factor, progress=progress
    )
    values = {
        "nll": found.nll.mean().item(),
        "nll_error": found.nll.std().item() / math.sqrt(len(found.nll)),
        "nll_bound": found.bound.mean().item(),
        "nll_effective": found.effective.median().item(),
    }
    if continuous:
        values["bits_per_dim"] = bits_per_dim(values["nll"], model.data.size)
    return values


def bits_per_dim(nats: float, dims: int) -> float:
    """−log₂ of the probability of 8-bit pixels, each, from a density over x = (t + u)/256."""
    return nats / math.log(2) / dims + 8


def elbo(
    model: Model, split: Split, *, n: int, seed: int, device: torch.device
) -> dict[str, float]:
    """The model's own test scalars, means over the first n test examples.

    They are what training logs for the test split: for a model with a likelihood the loss, the
    negative ELBO and its parts, −E log p(x|z) and KL, in nats an example.
    """
    assert isinstance(model, Evaluates)
    sums: dict[str, float] = {}
    count, zero = 0, torch.zeros((), dtype=torch.int64, device=device)
    for make in examples(split, n, device, size=500):
        batch = make()
        noise = Noise(seed, "test", zero, device, row_offset=count)
        step = Step(noise, torch.ones((), device=device))
        for name, value in model.evaluate(batch, step).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch.x)
        count += len(batch.x)
    return {name: value / count for name, value in sums.items()}


def active_units(model: Model, split: Split, *, n: int, device: torch.device) -> dict[str, float]:
    """Latent dimensions that say something of x: Cov_x(E[z|x]) > 0.01 (Burda et al. 2016, 5.2)."""
    assert isinstance(model, Encodes)
    means = [
        model.encode(batch.x, model.given(batch)).flatten(1).cpu().double()
        for batch in (make() for make in examples(split, n, device, size=500))
    ]
    variance = torch.cat(means).var(0)
    return {"active_units": float((variance > ACTIVE).sum()), "latent_units": float(len(variance))}


def collapse_warning(values: Mapping[str, Any]) -> str | None:
    """A sentence where the posterior has collapsed onto the prior."""
    active, units = values.get("active_units"), values.get("latent_units")
    if active is None or not units or active > 0.1 * units:
        return None
    return (
        f"the posterior has collapsed: {active:.0f} of {units:.0f} latent units depend on x; "
        "lower --beta, or try --kl-warmup or --free-bits"
    )
