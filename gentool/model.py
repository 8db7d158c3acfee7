"""The contract that a model fulfils: a few players, and what it can do once trained.

The trainer knows nothing of VAEs or GANs. A model is an `nn.Module` that names its *players*, in
the sense of the two-player game of Goodfellow et al. (2014); a VAE is a game of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gentool.errors import nearest, printable
from gentool.noise import Noise
from gentool.spec import Attribute, DataSpec


@dataclass(frozen=True)
class Batch:
    """One batch of data, on the device.

    Attributes:
        x: float32 images (N, C, H, W) in [0, 1], or points (N, D).
        labels: int64 (N,), or None where the data has none.
        pixels: the same images as uint8 (N, C, H, W), where they have been that; None for points.
        attributes: float32 (N, K), as `DataSpec.attributes` says; None where the data has none.
    """

    x: Tensor
    labels: Tensor | None = None
    pixels: Tensor | None = None
    attributes: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """Where in training an objective is evaluated.

    Attributes:
        noise: named random streams; each (stream, step) is a fixed draw.
        progress: float32 scalar tensor in [0, 1], for warm-ups and schedules. It is a tensor,
            not a number, so that a captured step stays valid.
    """

    noise: Noise
    progress: Tensor


@dataclass(frozen=True)
class Objective:
    """What a player minimises, and what is logged beside it.

    Attributes:
        loss: scalar tensor with a graph.
        scalars: named scalar tensors, means over the batch; logged, not differentiated.
    """

    loss: Tensor
    scalars: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer to be made by the trainer: `torch.optim.<kind>(lr=lr, **arguments)`."""

    kind: str
    lr: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


def Adam(lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> OptimizerSpec:
    """Adam (Kingma & Ba 2015)."""
    return OptimizerSpec("Adam", lr, {"betas": betas, "eps": eps})


def RMSprop(lr: float, alpha: float = 0.99, eps: float = 1e-8) -> OptimizerSpec:
    """RMSprop (Tieleman & Hinton 2012), as WGAN uses it."""
    return OptimizerSpec("RMSprop", lr, {"alpha": alpha, "eps": eps})


def SGD(lr: float, momentum: float = 0.0) -> OptimizerSpec:
    """Stochastic gradient descent, with heavy-ball momentum."""
    return OptimizerSpec("SGD", lr, {"momentum": momentum})


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Attributes:
        name: what it is called in the log: ``elbo``, ``discriminator``, ``critic``, ``generator``.
        module: what this player updates; the other players are frozen meanwhile.
        objective: called as ``objective(batch, step)``.
        optimizer: how it follows its gradient.
        steps: consecutive updates a round: Goodfellow's k, WGAN's n_critic.
        after_step: called after each update under `torch.no_grad`, e.g. to clip weights.
        steps_of_round: where rounds differ, how many updates the first player makes in the round
            of that number, counted from 0, at least 1; it stands instead of `steps`.

    The first player's updates draw fresh batches, and an epoch is one pass over the data by
    those; the players after it see the last batch that was drawn.
    """

    name: str
    module: nn.Module
    objective: Callable[[Batch, Step], Objective]
    optimizer: OptimizerSpec
    steps: int = 1
    after_step: Callable[[], None] | None = None
    steps_of_round: Callable[[int], int] | None = None


class Model(nn.Module):
    """Base class of every model: an `nn.Module` with players that can be sampled.

    Attributes:
        data: the shape of one example.
        latent_shape: shape of one z.
        latent_prior: p(z), "gaussian" for N(0, I) or "uniform" in [−1, 1); see `prior`.
        support: what a likelihood is of: "binary" pixels; "continuous" values, whose density can
            be told in bits per dimension; "grey" pixels under a Bernoulli, which is no density;
            None where there is none.
        classes: how many labels a class-conditional model takes; 0 for any other.
        condition: the attributes that the model is told instead of a class; see `conditioned`.
            Wherever a class-conditional model takes `labels`, int64 (N,), this one takes their
            values, float32 (N, K), as in `Batch.attributes`.
        remedies: what to try, in a few words such as "--pack 2", by what goes wrong: "few"
            training images, a "collapse" of the samples, or samples that are "memorised".
    """

    data: DataSpec
    latent_shape: tuple[int, ...]
    latent_prior: Literal["gaussian", "uniform"] = "gaussian"
    support: Literal["", "binary", "grey", "continuous"] | None = ""
    classes: int = 0
    condition: tuple[Attribute, ...] = ()
    remedies: Mapping[str, str] = MappingProxyType({})

    @property
    def told(self) -> int:
        """How many numbers a conditional model is told of an example: K classes or attributes."""
        return self.classes + len(self.condition)

    def given(self, batch: Batch) -> Tensor | None:
        """What the model is told of a batch: its labels, its attributes, or None.

        The batch's attributes are those of `data`, in its order.
        """
        if not self.condition:
            return batch.labels if self.classes else None
        if batch.attributes is None:
            raise ValueError("this model is told attributes, and the data has none")
        names = [one.name for one in self.data.attributes]
        columns = [names.index(one.name) for one in self.condition]
        return torch.stack([batch.attributes[:, k] for k in columns], dim=1)

    def in_turn(self, n: int) -> Tensor | None:
        """What to be told where nobody says, on the CPU: the classes in turn, or attributes as
        `in_turn` has them."""
        if self.classes:
            return torch.arange(n) % self.classes
        return in_turn(self.condition, n) if self.condition else None

    def players(self) -> Sequence[Player]:
        """The sides of the game, in the order they move."""
        raise TypeError(f"{type(self).__name__} has no players()")

    def prior(self, n: int, noise: Noise) -> Tensor:
        """Draw n latents z ~ p(z): by `latent_prior`, unless a model has its own.

        Returns:
            float32 (n, *latent_shape), on the device of `noise`.
        """
        shape = (n, *self.latent_shape)
        if self.latent_prior == "uniform":
            return 2 * noise.uniform("z", shape) - 1
        return noise.normal("z", shape)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Turn latents into examples; differentiable in z, of each row by itself.

        Inversion, editing and restoration of every model stand on this function alone
        (`gentool.latent`), and on `encode` where there is one.

        Args:
            z: (N, *latent_shape).
            labels: int64 (N,) for a class-conditional model; float32 (N, K) for one that is told
                attributes.
            noise: where x ~ p(x|z) is to be drawn rather than its mean; models whose output is
                a function of z ignore it.

        Returns:
            images (N, C, H, W) in [0, 1], or points (N, D).
        """
        raise TypeError(f"{type(self).__name__} has no sample()")


def conditioned(
    conditional: bool, condition: Sequence[str] | None, data: DataSpec
) -> tuple[int, tuple[Attribute, ...]]:
    """What a model is to be told, for `Model.classes` and `Model.condition`.

    Args:
        conditional: told the label, as by ``--conditional``.
        condition: names of attributes, as by ``--condition smile,male``.

    Raises:
        ValueError: where the data has no labels, or no such attribute; or for both at once.
    """
    if conditional and condition:
        raise ValueError("--conditional and --condition exclude each other: choose one of them")
    if conditional and not data.classes:
        beside = ", ".join(one.name for one in data.attributes[:10])
        instead = f"; it has attributes, for --condition: {beside}" if beside else ""
        raise ValueError(f"--conditional needs data with labels, and this data has none{instead}")
    known = {one.name: one for one in data.attributes}
    for name in condition or ():
        if name not in known:
            here = f"this data has {', '.join([*known][:20])}" if known else "this data has none"
            raise ValueError(
                f"--condition needs attributes of the data, and {printable(name)!r} is none of "
                f"them; {here}{nearest(name, known)}"
            )
    chosen = tuple(known[name] for name in dict.fromkeys(condition or ()))
    return len(data.classes) if conditional else 0, chosen


def in_turn(attributes: Sequence[Attribute], n: int) -> Tensor:
    """Values (n, K) of n examples: the binary attributes as digits of a number that counts up, the
    first changing quickest, and continuous ones at their mean."""
    rows, values, place = torch.arange(n), torch.zeros(n, len(attributes)), 0
    for k, one in enumerate(attributes):
        if one.kind == "binary" and place < 62:
            values[:, k] = (rows >> place) & 1
            place += 1
    return values


@runtime_checkable
class Evaluates(Protocol):
    """Has scalars to report on data it does not train on."""

    def evaluate(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """Scalar tensors, means over the batch. Called in eval mode without gradients."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """Looks at training data once before the first step."""

    def prepare(self, x: Tensor) -> None:
        """Set what depends on the data, e.g. an output bias from its mean.

        Args:
            x: up to 10,000 training examples, as in `Batch.x`.
        """
        ...


@runtime_checkable
class Encodes(Protocol):
    """Can map an example to a latent, and so reconstruct it."""

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The most likely latent, (N, *latent_shape), of x as in `Batch.x`."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Can weigh its own latents: log p(x) by importance sampling."""

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        """log w_i = log p(x, z_i) − log q(z_i|x) for z_1 … z_k ~ q(z|x).

        Called from several threads at once, so it must not change the model.

        Returns:
            float32 (k, N) in nats.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """Has a p(x|z) that factorises: what some values of x say of z does not ask for the others."""

    def explain(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x_i|z) of each value, (N, *shape) in nats, of x as in `Batch.x`.

        Differentiable in z. Not asked for where `support` is None.
        """
        ...


@runtime_checkable
class Infers(Protocol):
    """Has an encoder that is a distribution, q(z|x) = N(μ, diag σ²)."""

    def infer(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and log σ², each (N, *latent_shape), of x as in `Batch.x`."""
        ...


@runtime_checkable
class Presents(Protocol):
    """A model that changes an example at random before it looks, as dynamic binarisation does.

    −log p(x) is that of one fixed x, so the change is drawn once, before the latents are.
    """

    def presented(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """What the encoder sees and what the decoder is held to, both as in `Batch.x`.

        Presenting again what was presented changes nothing.
        """
        ...


@runtime_checkable
class Scores(Protocol):
    """Has an opinion on how real an example is."""

    def score(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Discriminator logits or critic values, (N,); larger is more real."""
        ...


@runtime_checkable
class Warns(Protocol):
    """Knows from its own scalars when training goes wrong."""

    def warnings(self, scalars: Mapping[str, float]) -> Sequence[str]:
        """Sentences for a person, e.g. that the discriminator has won; called once an epoch.

        Args:
            scalars: the epoch's last training means, by the names in ``metrics.jsonl``.
        """
        ...


CAPABILITIES: dict[str, type] = {
    "reconstruct": Encodes,
    "likelihood": HasLikelihood,
    "score": Scores,
}


def parameter_count(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(p.numel() for p in module.parameters())


__all__ = [
    "SGD",
    "Adam",
    "Batch",
    "Encodes",
    "Evaluates",
    "Explains",
    "HasLikelihood",
    "Infers",
    "Model",
    "Noise",
    "Objective",
    "OptimizerSpec",
    "Player",
    "Prepares",
    "Presents",
    "RMSprop",
    "Scores",
    "Step",
    "Warns",
    "conditioned",
]
