"""The deep convolutional GAN as a gentool plugin. No torch here: `model.py` has the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.hookspecs import hookimpl
from gentool.spec import ModelSpec, Option


@dataclass(frozen=True)
class DCGANConfig:
    """Options of ``gentool train dcgan``."""

    objective: Annotated[
        Literal["non-saturating", "least-squares", "hinge", "relativistic"],
        Option("what the players minimise"),
    ] = "non-saturating"
    latent_dim: Annotated[int, Option("size of z", min=1)] = 100
    noise: Annotated[
        Literal["gaussian", "uniform"], Option("p(z): N(0, I), or uniform in [−1, 1]")
    ] = "gaussian"
    net: Annotated[
        Literal["conv", "paper", "resnet"],
        Option(
            "conv: 4×4 kernels and as many halvings as fit, as in PyTorch's example; paper: the "
            "authors' code, four layers of 5×5; resnet: those of SNGAN, with spectral norm"
        ),
    ] = "conv"
    d_steps: Annotated[
        int | None,
        Option("discriminator updates a round; none: 1, and 5 for --net resnet", min=1),
    ] = None
    g_steps: Annotated[int, Option("generator updates a round", min=1)] = 1
    width: Annotated[
        int,
        Option(
            "channels at the image's end of both networks; PyTorch's example has 64, the paper "
            "128, the published ResNets 64",
            min=1,
        ),
    ] = 32
    spectral_norm: Annotated[
        bool,
        Option(
            "divide the discriminator's weights by their spectral norm; --net resnet does, unless "
            "--r1 or --r2 holds D flat"
        ),
    ] = False
    augment: Annotated[
        tuple[Literal["color", "translation", "cutout"], ...] | None,
        Option("change what the discriminator sees: DiffAugment, for few images"),
    ] = None
    r1: Annotated[float, Option("γ of the penalty γ/2·‖∇D‖² on real images; 0: none", min=0)] = 0.0
    r2: Annotated[float, Option("the same on generated images", min=0)] = 0.0
    pack: Annotated[int, Option("images the discriminator sees at once, as in PacGAN", min=1)] = 1
    conditional: Annotated[bool, Option("model p(x|label), from the data's labels")] = False
    condition: Annotated[
        tuple[str, ...] | None, Option("model p(x|attributes), by names such as smile,male")
    ] = None
    lr: Annotated[float, Option("learning rate of Adam", above=0)] = 2e-4
    lr_d: Annotated[float | None, Option("the discriminator's own; none: as --lr", above=0)] = None
    lr_g: Annotated[float | None, Option("the generator's own; none: as --lr", above=0)] = None
    beta1: Annotated[
        float | None, Option("of Adam; none: 0.5, and 0 for --net resnet", min=0, below=1)
    ] = None
    beta2: Annotated[
        float | None, Option("of Adam; none: 0.999, and 0.9 for --net resnet", min=0, below=1)
    ] = None

    @property
    def residual(self) -> bool:
        return self.net == "resnet"

    @property
    def betas(self) -> tuple[float, float]:
        """β₁ and β₂ of Adam: DCGAN's, or SNGAN's."""
        usual = (0.0, 0.9) if self.residual else (0.5, 0.999)
        beta1 = usual[0] if self.beta1 is None else self.beta1
        return beta1, usual[1] if self.beta2 is None else self.beta2


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="deep convolutional GAN, by the guidelines of Radford et al.",
        config=DCGANConfig,
        factory="gentool_dcgan.model:DCGAN",
        data=("image",),
        capabilities=frozenset({"sample", "score"}),
        defaults={"ema": 0.999},
        drop_last=True,
        paper=(
            "Radford et al. 2016, arXiv:1511.06434; packing: Lin et al. 2018, arXiv:1712.04086; "
            "ResNets: Miyato et al. 2018, arXiv:1802.05957"
        ),
    )
