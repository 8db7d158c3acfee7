"""The variational autoencoder as a gentool plugin. No torch here: `model.py` has the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gentool.hookspecs import hookimpl
from gentool.spec import DataSpec, ModelSpec, Option


@dataclass(frozen=True)
class VAEConfig:
    """Options of ``gentool train vae``."""

    latent_dim: Annotated[int, Option("size of z", min=1)] = 32
    net: Annotated[Literal["mlp", "conv"], Option("encoder and decoder")] = "mlp"
    hidden: Annotated[
        tuple[int, ...], Option("widths of the encoder's hidden layers; the decoder mirrors", min=1)
    ] = (512, 512)
    width: Annotated[int, Option("channels of the first layer, for --net conv", min=1)] = 32
    activation: Annotated[Literal["relu", "tanh", "silu"], Option("between the layers")] = "relu"
    init: Annotated[
        Literal["torch", "glorot"], Option("initial weights: PyTorch's default, or Glorot's")
    ] = "torch"
    likelihood: Annotated[
        Literal["auto", "bernoulli", "gaussian", "continuous-bernoulli", "none"],
        Option(
            "p(x|z); auto: bernoulli for images, gaussian for points; none: a plain autoencoder"
        ),
    ] = "auto"
    sigma: Annotated[
        float | Literal["per-dim", "network"] | None,
        Option(
            "standard deviation of the gaussian likelihood; none: one, learned; per-dim: one "
            "learned for each value of an example; network: the decoder's second output",
            above=0,
        ),
    ] = None
    beta: Annotated[float, Option("weight of the KL term in the loss", min=0)] = 1.0
    kl_warmup: Annotated[
        float, Option("share of training over which the KL weight rises from 0", min=0, max=1)
    ] = 0.0
    free_bits: Annotated[
        float, Option("nats of KL each latent dimension may use freely", min=0)
    ] = 0.0
    binarize: Annotated[
        bool, Option("draw each pixel as 0 or 1 with its grey value, anew each time")
    ] = False
    dequantize: Annotated[
        bool,
        Option(
            "add uniform noise below one grey level to each pixel, anew each time, so that a "
            "density bounds the probability of the 256 levels"
        ),
    ] = False
    iwae_k: Annotated[
        int, Option("latents an example in the importance-weighted bound; 1: the ELBO", min=1)
    ] = 1
    conditional: Annotated[bool, Option("model p(x|label), from the data's labels")] = False
    condition: Annotated[
        tuple[str, ...] | None, Option("model p(x|attributes), by names such as smile,male")
    ] = None
    lr: Annotated[float, Option("learning rate of Adam", above=0)] = 1e-3
    adam_eps: Annotated[float, Option("epsilon of Adam", above=0)] = 1e-8

    def __post_init__(self) -> None:
        if self.likelihood == "none" and self.iwae_k > 1:
            raise ValueError(
                "--iwae-k needs a likelihood; drop it or --likelihood none, which has no density"
            )
        if self.iwae_k > 1 and (self.free_bits or self.beta != 1 or self.kl_warmup):
            raise ValueError(
                "--iwae-k has no KL term; drop --beta, --kl-warmup and --free-bits, or --iwae-k"
            )
        if self.binarize and self.likelihood == "continuous-bernoulli":
            raise ValueError("--binarize makes 0 and 1 of the pixels: use --likelihood bernoulli")
        if self.binarize and self.dequantize:
            raise ValueError("--binarize and --dequantize exclude each other; drop one of them")

    def without_effect(self, data: DataSpec) -> dict[str, str]:
        """Options that change nothing here; see `gentool.options.without_effect`."""
        found = {}
        if self.likelihood == "none":
            reason = "with --likelihood none, which has no KL term"
            found = dict.fromkeys(("beta", "kl_warmup", "free_bits"), reason)
        chosen = self.likelihood
        if chosen == "auto":
            chosen = "bernoulli" if data.kind == "image" else "gaussian"
        if chosen != "gaussian":
            found["sigma"] = f"with --likelihood {chosen}; it is for gaussian"
        unused = "width" if self.net == "mlp" else "hidden"
        found[unused] = f"with --net {self.net}"
        if data.kind == "points":
            found |= dict.fromkeys(("binarize", "dequantize"), "on points")
        return found


@hookimpl
def gentool_model() -> ModelSpec:
    return ModelSpec(
        summary="variational autoencoder: a latent-variable model with a likelihood",
        config=VAEConfig,
        factory="gentool_vae.model:VAE",
        capabilities=frozenset({"sample", "reconstruct", "likelihood"}),
        best="neg_elbo",
        paper="Kingma & Welling 2014, arXiv:1312.6114; IWAE: Burda et al. 2016, arXiv:1509.00519",
    )
