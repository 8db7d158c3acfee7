"""The Wasserstein GAN as a gentool plugin. No torch here: `model.py` has the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.hookspecs import hookimpl
from gentool.spec import DataSpec, ModelSpec, Option


@dataclass(frozen=True)
class WGANConfig:
    """Options of ``gentool train wgan``."""

    lipschitz: Annotated[
        Literal["gp", "clip", "spectral"],
        Option("what bounds the critic's slope: gradient penalty, weight clipping, spectral norm"),
    ] = "gp"
    penalty: Annotated[
        float | None,
        Option("λ, the gradient penalty's weight; none: 10 for images, 0.1 for points", above=0),
    ] = None
    clip: Annotated[float, Option("c: weights are clipped to [−c, c]", above=0)] = 0.01
    critic_steps: Annotated[int, Option("critic updates per generator update", min=1)] = 5
    long_rounds: Annotated[
        bool,
        Option(
            "100 critic updates before each of the first 25 generator updates and before every "
            "500th, as in the code of the clipping paper"
        ),
    ] = False
    net: Annotated[
        Literal["auto", "mlp", "conv", "resnet"],
        Option("networks; auto: conv for images, mlp for points; resnet: those of SNGAN's paper"),
    ] = "auto"
    hidden: Annotated[
        tuple[int, ...], Option("widths of the hidden layers, for --net mlp", min=1)
    ] = (256, 256, 256)
    width: Annotated[
        int, Option("channels at the image's end of the networks, for --net conv and resnet", min=1)
    ] = 32
    latent_dim: Annotated[int, Option("size of z", min=1)] = 64
    noise: Annotated[
        Literal["gaussian", "uniform"], Option("p(z): N(0, I), or uniform in [−1, 1]")
    ] = "gaussian"
    augment: Annotated[
        tuple[Literal["color", "translation", "cutout"], ...] | None,
        Option("change what the critic sees: DiffAugment, for few images"),
    ] = None
    conditional: Annotated[bool, Option("model p(x|label), from the data's labels")] = False
    condition: Annotated[
        tuple[str, ...] | None, Option("model p(x|attributes), by names such as smile,male")
    ] = None
    optimizer: Annotated[
        Literal["auto", "adam", "rmsprop"],
        Option("auto: rmsprop for clip, adam otherwise, as the papers have it"),
    ] = "auto"
    lr: Annotated[
        float | None,
        Option("learning rate; none: 5e-5 for rmsprop, 1e-4 for adam, 2e-4 with resnet", above=0),
    ] = None
    beta1: Annotated[float, Option("of adam", min=0, below=1)] = 0.0
    beta2: Annotated[float, Option("of adam", min=0, below=1)] = 0.9

    def without_effect(self, data: DataSpec) -> dict[str, str]:
        """Options that change nothing here; see `gentool.options.without_effect`."""
        found = {}
        if self.lipschitz != "clip":
            found["clip"] = f"with --lipschitz {self.lipschitz}"
        if self.lipschitz != "gp":
            found["penalty"] = f"with --lipschitz {self.lipschitz}"
        if self.optimizer == "rmsprop" or (self.optimizer, self.lipschitz) == ("auto", "clip"):
            found |= dict.fromkeys(("beta1", "beta2"), "with rmsprop; --optimizer adam has it")
        if data.kind == "points":
            found["width"] = "on points, whose networks are --hidden"
        else:
            unused = "width" if self.net == "mlp" else "hidden"
            found[unused] = f"with {'--net mlp' if unused == 'width' else 'convolutions'}"
        return found


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="Wasserstein GAN: a critic with bounded slope, by penalty, clipping or norm",
        config=WGANConfig,
        factory="gentool_wgan.model:WGAN",
        capabilities=frozenset({"sample", "score"}),
        defaults={"batch_size": 64, "ema": 0.999},
        drop_last=True,
        paper=(
            "Arjovsky et al. 2017, arXiv:1701.07875; "
            "gradient penalty: Gulrajani et al. 2017, arXiv:1704.00028"
        ),
    )
