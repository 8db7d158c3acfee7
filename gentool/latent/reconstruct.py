"""x → z → x̂: by the model's encoder, or by inversion, with the error of every example."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gentool.console import Progress
from gentool.errors import UserError
from gentool.latent.invert import Descent, invert, squared_error
from gentool.latent.prior import check_told, device_of
from gentool.metrics.likelihood import importance_weighted
from gentool.model import Batch, Encodes, HasLikelihood, Model
from gentool.sampling import draw_samples

Method = Literal["auto", "encoder", "optimise"]
METHODS = ("auto", "encoder", "optimise")

CHUNK = 256
ENOUGH = 1e-6
"""A mean squared error a value that no eye and no 8-bit picture can tell from 0."""


@dataclass(frozen=True)
class Reconstruction:
    """Examples, their latents, and what the model makes of these; all on the CPU.

    Attributes:
        x: what was to be reconstructed: images (N, C, H, W) in [0, 1], or points (N, D).
        z: (N, *latent_shape).
        labels: int64 (N,) of a class-conditional model, given or found; else None.
        again: sample(z, labels), of the shape of x.
        error: (N,), the mean squared error a value: of images with values in [0, 1].
        log_likelihood: (N,), log p(x) in nats by importance sampling, where the model has a
            likelihood; else None.
        method: "encoder" or "optimise".
        restarts: (N, R) error that each restart of the inversion reached; None for the encoder.
    """

    x: Tensor
    z: Tensor
    labels: Tensor | None
    again: Tensor
    error: Tensor
    log_likelihood: Tensor | None
    method: Literal["encoder", "optimise"]
    restarts: Tensor | None = None


def reconstruct(
    model: Model,
    x: Tensor,
    *,
    labels: Tensor | None = None,
    method: Method = "auto",
    descent: Descent | None = None,
    weights: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Reconstruction:
    """Find latents of x, and see what becomes of them.

    Args:
        model: in eval mode.
        x: images (N, C, H, W) in [0, 1], or points (N, D).
        labels: int64 (N,) for a class-conditional model; None takes for each example the class
            under which the error is least.
        method: "encoder"; "optimise", which inverts `sample` and begins at the encoder's answer
            where there is an encoder; "auto", the encoder where there is one, else "optimise".
        descent: how to optimise. None is 10 restarts, or with an encoder its answer alone.
        weights: latents an example for the log-likelihood; 0 leaves it out.

    Raises:
        UserError: for x of another shape than the model's, or "encoder" without one.
    """
    check_shape(model, x)
    encodes = isinstance(model, Encodes)
    if method == "encoder" and not encodes:
        raise UserError(
            "this model has no encoder, so it reconstructs by inversion; use --method optimise"
        )
    z, chosen = encode(model, x, labels) if encodes else (None, labels)
    reached = None
    if method == "optimise" or z is None:
        plan = descent or Descent(restarts=1 if encodes else 10)
        size = x[0].numel()
        plan = dataclasses.replace(plan, enough=max(plan.enough, ENOUGH * size))
        target = x.to(device_of(model))
        found = invert(
            model,
            squared_error(target),
            len(x),
            plan,
            start=z,
            labels=chosen,
            progress=progress,
        )
        z, chosen, reached = found.z, found.labels, found.every / size
    again = decode(model, z, chosen)
    error = (again - x).square().flatten(1).mean(1)
    likelihood = log_likelihood(model, x, chosen, weights) if weights else None
    used: Literal["encoder", "optimise"] = "encoder" if reached is None else "optimise"
    return Reconstruction(x, z, chosen, again, error, likelihood, used, reached)


def check_shape(model: Model, x: Tensor) -> None:
    """Raise UserError where x is not examples of the model's shape."""
    if tuple(x.shape[1:]) != tuple(model.data.shape) or not len(x):
        raise UserError(
            f"the model makes {model.data.kind} of shape {tuple(model.data.shape)}, "
            f"and was given an array of shape {tuple(x.shape)}"
        )


def encode(model: Model, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The encoder's latents of x, and their labels; on the CPU.

    Without labels a class-conditional model is asked under each class, and the class that
    reconstructs best is taken.
    """
    assert isinstance(model, Encodes)
    check_told(model, labels)
    if not model.classes or labels is not None:
        return _encode(model.encode, model, x, labels), labels if model.classes else None
    best = torch.full((len(x),), torch.inf)
    z, chosen = torch.empty(0), torch.zeros(len(x), dtype=torch.int64)
    for k in range(model.classes):
        asked = torch.full((len(x),), k)
        candidate = _encode(model.encode, model, x, asked)
        error = (decode(model, candidate, asked) - x).square().flatten(1).mean(1)
        better = error < best
        z = candidate.clone() if k == 0 else z
        z[better], chosen[better] = candidate[better], k
        best = torch.minimum(best, error)
    return z, chosen


def _encode(
    function: Callable[..., Tensor], model: Model, x: Tensor, labels: Tensor | None
) -> Tensor:
    device, parts = device_of(model), []
    with torch.no_grad():
        for start in range(0, len(x), CHUNK):
            rows = slice(start, start + CHUNK)
            chosen = None if labels is None or not model.classes else labels[rows].to(device)
            parts.append(function(x[rows].to(device), chosen).float().cpu())
    return torch.cat(parts)


def decode(model: Model, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """sample(z, labels) in chunks, without gradients: float32 on the CPU."""
    return draw_samples(model, len(z), device_of(model), z=z, labels=labels).clone()


def log_likelihood(model: Model, x: Tensor, labels: Tensor | None, weights: int) -> Tensor | None:
    """log p(x) in nats, (N,), by `weights` latents an example; None for a model without."""
    if not isinstance(model, HasLikelihood) or model.support is None:
        return None
    device = device_of(model)

    def batch(start: int) -> Callable[[], Batch]:
        rows = slice(start, start + CHUNK)
        part = x[rows].to(device)
        chosen = None if labels is None else labels[rows].to(device)
        return lambda: Batch(part, chosen)

    batches = [batch(start) for start in range(0, len(x), CHUNK)]
    found = importance_weighted(model, batches, weights, seed=0, device=device)
    return -found.nll.float()
