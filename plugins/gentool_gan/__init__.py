"""The generative adversarial network as a gentool plugin. No torch here: see `model.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.hookspecs import hookimpl
from gentool.spec import DataSpec, ModelSpec, Option


@dataclass(frozen=True)
class GANConfig:
    """Options of ``gentool train gan``."""

    objective: Annotated[
        Literal["non-saturating", "minimax", "least-squares", "hinge", "relativistic"],
        Option("what the players minimise; minimax is the paper's equation, for study"),
    ] = "non-saturating"
    d_steps: Annotated[int, Option("k: discriminator updates a round", min=1)] = 1
    g_steps: Annotated[int, Option("l: generator updates a round", min=1)] = 1
    hidden: Annotated[
        tuple[int, ...],
        Option("widths of the generator's hidden layers; the discriminator mirrors", min=1),
    ] = (256, 512)
    batch_norm: Annotated[bool, Option("in the generator's hidden layers; steadier on images")] = (
        False
    )
    dropout: Annotated[float, Option("of the discriminator's hidden units", min=0, below=1)] = 0.0
    latent_dim: Annotated[int, Option("size of z", min=1)] = 64
    noise: Annotated[
        Literal["gaussian", "uniform"], Option("p(z): N(0, I), or uniform in [−1, 1]")
    ] = "gaussian"
    smooth_real: Annotated[
        float, Option("one-sided label smoothing: real examples count as 1 − this", min=0, max=0.5)
    ] = 0.0
    smooth_fake: Annotated[
        float, Option("the other side: generated examples count as this", min=0, max=0.5)
    ] = 0.0
    augment: Annotated[
        tuple[Literal["color", "translation", "cutout"], ...] | None,
        Option("change what the discriminator sees: DiffAugment, for few images"),
    ] = None
    r1: Annotated[float, Option("γ of the penalty γ/2·‖∇D‖² on real examples; 0: none", min=0)] = (
        0.0
    )
    r2: Annotated[float, Option("the same on generated examples", min=0)] = 0.0
    pack: Annotated[int, Option("examples the discriminator sees at once, as in PacGAN", min=1)] = 1
    conditional: Annotated[bool, Option("model p(x|label), from the data's labels")] = False
    condition: Annotated[
        tuple[str, ...] | None, Option("model p(x|attributes), by names such as smile,male")
    ] = None
    optimizer: Annotated[Literal["adam", "sgd"], Option("of both players")] = "adam"
    lr: Annotated[float, Option("learning rate", above=0)] = 2e-4
    lr_d: Annotated[float | None, Option("the discriminator's own; none: as --lr", above=0)] = None
    lr_g: Annotated[float | None, Option("the generator's own; none: as --lr", above=0)] = None
    beta1: Annotated[float, Option("of adam", min=0, below=1)] = 0.5
    beta2: Annotated[float, Option("of adam", min=0, below=1)] = 0.999
    momentum: Annotated[float, Option("of sgd", min=0, below=1)] = 0.5

    def __post_init__(self) -> None:
        without = self.objective in ("hinge", "relativistic")
        if without and (self.smooth_real or self.smooth_fake):
            raise ValueError(
                f"--objective {self.objective} has margins or differences instead of labels; "
                "drop --smooth-real and --smooth-fake"
            )

    def without_effect(self, data: DataSpec) -> dict[str, str]:
        """Options that change nothing here; see `gentool.options.without_effect`."""
        unused = ("momentum",) if self.optimizer == "adam" else ("beta1", "beta2")
        return dict.fromkeys(unused, f"with --optimizer {self.optimizer}")


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="generative adversarial network: the two-player game, with MLPs",
        config=GANConfig,
        factory="gentool_gan.model:GAN",
        capabilities=frozenset({"sample", "score"}),
        defaults={"ema": 0.999},
        drop_last=True,
        paper=(
            "Goodfellow et al. 2014, arXiv:1406.2661; packing: Lin et al. 2018, arXiv:1712.04086"
        ),
    )
