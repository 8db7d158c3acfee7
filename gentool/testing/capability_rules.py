"""Rules about capabilities: what the spec promises, the model does, and the other way round."""

from __future__ import annotations

import math
from typing import get_args

import torch

from gentool.model import CAPABILITIES, Encodes, Evaluates, HasLikelihood, Scores
from gentool.noise import sampling_noise
from gentool.spec import Capability
from gentool.testing.player_rules import check_scalars
from gentool.testing.sampling_rules import CLOSE
from gentool.testing.subject import Candidate, Skip, demand, step_at

METHODS = {"reconstruct": "encode", "likelihood": "log_weights", "score": "score"}
GRID, WEIGHTS = 64, 16


def capabilities(subject: Candidate) -> None:
    """The spec's capabilities are those that the model has methods for."""
    model = subject.build()
    for name in get_args(Capability):
        if name == "sample":
            continue
        has, promised = isinstance(model, CAPABILITIES[name]), name in subject.spec.capabilities
        demand(
            has or not promised,
            f"the spec promises {name!r}, but the model has no {METHODS[name]}(); write it or "
            "take the capability out",
        )
        demand(
            promised or not has,
            f"the model has {METHODS[name]}(), but the spec does not name {name!r}; add it to "
            "capabilities, or the verbs that need it will not find it",
        )


def evaluate(subject: Candidate) -> None:
    """evaluate() gives finite scalars, in eval mode, without gradients, for any batch size."""
    model = subject.prepared().eval()
    if not isinstance(model, Evaluates):
        raise Skip("the model has no evaluate()")
    for n in (8, 1):
        with torch.inference_mode():
            found = model.evaluate(subject.batch(n), step_at("test"))
        check_scalars(found, "evaluate()")


def reconstruct(subject: Candidate) -> None:
    """encode() gives latents that sample() takes, the same every time."""
    model = subject.prepared().eval()
    if not isinstance(model, Encodes):
        raise Skip("the model does not reconstruct")
    batch = subject.batch(5)
    labels = batch.labels if subject.conditional else None
    with torch.inference_mode():
        z, again = model.encode(batch.x, labels), model.encode(batch.x, labels)
        demand(
            tuple(z.shape) == (5, *model.latent_shape),
            f"encode() gives {tuple(z.shape)}; it must be {(5, *model.latent_shape)}",
        )
        demand(torch.equal(z, again), "encode() gives two answers; return the most likely latent")
        x = model.sample(z, labels)
        few = model.encode(batch.x[:2], None if labels is None else labels[:2])
    demand(x.shape == batch.x.shape, f"sample(encode(x)) is {tuple(x.shape)}")
    demand(
        bool(torch.isfinite(z).all() and torch.isfinite(x).all()),
        "encode() or sample(encode(x)) holds NaN or infinity",
    )
    gap = (z[:2] - few).abs().max().item()
    demand(
        gap <= CLOSE * max(1.0, few.abs().max().item()),
        f"encode() of 2 examples differs by {gap:.2g} from theirs among 5; rows must not mix, so "
        "use running statistics in eval mode",
    )


def likelihood(subject: Candidate) -> None:
    """log_weights() is (k, N), and on the plane the density it estimates integrates to 1."""
    model = subject.prepared().eval()
    if not isinstance(model, HasLikelihood):
        raise Skip("the model has no likelihood")
    batch = subject.batch(4)
    with torch.inference_mode():
        found = [model.log_weights(batch, 3, sampling_noise(s)) for s in (0, 0)]
    demand(
        tuple(found[0].shape) == (3, 4) and found[0].dtype == torch.float32,
        f"log_weights(batch of 4, k=3) is {found[0].dtype} {tuple(found[0].shape)}; it must be "
        "float32 (3, 4): one row a latent",
    )
    demand(bool(torch.isfinite(found[0]).all()), "log_weights() holds NaN or infinity")
    demand(
        torch.equal(*found),
        "log_weights() gives two answers for one noise; draw from `noise` alone",
    )
    if subject.data.kind == "points" and not subject.conditional:
        mass = total_mass(subject)
        demand(
            abs(mass - 1) < 0.1,
            f"the density integrates to {mass:.3g} instead of 1; look for a missing constant, "
            "a Jacobian, or a missing log q(z|x) in log_weights()",
        )


def total_mass(subject: Candidate) -> float:
    """∫ p(x) dx over the plane, by a grid around samples; 1 for a true density.

    Importance weights are unbiased for p(x), so their sum over the grid is unbiased for the
    integral, whatever k is.
    """
    model = subject.prepared().eval()
    x = subject.samples(model, 1000, draw=True)
    low, high = x.min(0).values, x.max(0).values
    middle, half = (low + high) / 2, (high - low).clamp(min=1e-3)
    cells = (torch.arange(GRID) + 0.5) / GRID * 2 - 1
    points = torch.cartesian_prod(*[cells] * len(half)) * half + middle
    volume = (2 * half / GRID).prod().item()
    batch = type(subject.batch(1))(points)
    with torch.inference_mode():
        log_w = model.log_weights(batch, WEIGHTS, sampling_noise(1))  # type: ignore[operator]
    log_p = torch.logsumexp(log_w.double(), 0) - math.log(WEIGHTS)
    return log_p.exp().sum().item() * volume


def score(subject: Candidate) -> None:
    """score() gives one finite number an example."""
    model = subject.prepared().eval()
    if not isinstance(model, Scores):
        raise Skip("the model does not score")
    for n in (5, 1):
        batch = subject.batch(n)
        with torch.inference_mode():
            found = model.score(batch.x, batch.labels if subject.conditional else None)
        demand(
            tuple(found.shape) == (n,) and bool(torch.isfinite(found).all()),
            f"score() of {n} examples is {tuple(found.shape)}; it must be ({n},) and finite",
        )
