"""Building blocks that several models share. They know nothing of what they are used for."""

from gentool.nn.adversarial import saturation, zero_centred_penalty
from gentool.nn.augment import ADVICE, augmented
from gentool.nn.convolutional import ConvDiscriminator, ConvGenerator
from gentool.nn.labels import joined, one_hot
from gentool.nn.layers import FromVector, ToVector, at_least_fp32, halvings, mlp
from gentool.nn.packs import pack_heads, packed
from gentool.nn.range import Range
from gentool.nn.residual import ResDiscriminator, ResGenerator

__all__ = [
    "ADVICE",
    "ConvDiscriminator",
    "ConvGenerator",
    "FromVector",
    "Range",
    "ResDiscriminator",
    "ResGenerator",
    "ToVector",
    "at_least_fp32",
    "augmented",
    "halvings",
    "joined",
    "mlp",
    "one_hot",
    "pack_heads",
    "packed",
    "saturation",
    "zero_centred_penalty",
]
