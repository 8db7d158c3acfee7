"""What p(z) looks like, measured on its own draws, so that a model need not say it twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gentool.errors import UserError
from gentool.model import Model
from gentool.noise import sampling_noise

DRAWS = 2048


@dataclass(frozen=True)
class Prior:
    """The shape of p(z).

    Attributes:
        kind: "uniform" for independent coordinates in a box, else "gaussian".
        low, high: the sides of the box; −∞ and ∞ for a Gaussian.
        shell: the norms between which 99 % of the draws lie. In D dimensions a standard Gaussian
            keeps to a thin shell about √D.
    """

    kind: Literal["gaussian", "uniform"]
    low: float
    high: float
    shell: tuple[float, float]


def draw(model: Model, n: int, seed: int = 0, first: int = 0) -> Tensor:
    """Rows `first` … first + n − 1 of the latents z ~ p(z) that a seed stands for.

    Returns:
        (n, *latent_shape), on the model's device.
    """
    with torch.no_grad():
        return model.prior(n, sampling_noise(seed, device_of(model), row_offset=first))


def measure(model: Model) -> Prior:
    """Tell a box from a bell by the kurtosis: −1.2 for a uniform distribution, 0 for a normal."""
    z = draw(model, DRAWS).flatten(1).double().cpu()
    unit = (z - z.mean(0)) / z.std(0).clamp(min=1e-12)
    excess = unit.pow(4).mean().item() - 3
    norms = z.norm(dim=1).quantile(torch.tensor([0.005, 0.995], dtype=torch.float64)).tolist()
    shell = (norms[0], norms[1])
    if excess > -0.6:
        return Prior("gaussian", -math.inf, math.inf, shell)
    # The largest of n uniform draws falls short of the box's side by about 1/n of it.
    low, high = z.min().item(), z.max().item()
    margin = (high - low) / len(z)
    return Prior("uniform", low - margin, high + margin, shell)


def device_of(model: Model) -> torch.device:
    """Where the model's numbers are."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def check_told(model: Model, labels: Tensor | None) -> None:
    """Refuse a search for the attributes that a model was told; classes can be tried, they cannot.

    Raises UserError.
    """
    if model.condition and labels is None:
        names = ", ".join(one.name for one in model.condition)
        raise UserError(
            f"this model is told {names} of every example, which are not known here; latents of "
            "examples can be found for models that are told classes, or nothing"
        )
