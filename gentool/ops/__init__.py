"""Fused operations for generative models; each has a reference in plain torch.

>>> from gentool import ops
>>> z, kl = ops.reparam_kl(mu, logvar, seed=0, stream=ops.stream_id("z"), step=step)
>>> loss = ops.bce_with_logits(logits, images_uint8)

`reference` says what an operation computes, `library` gives torch its schema, shape function
and gradient, `native` replaces the kernels where a compiled library is at hand, and `functional`
checks arguments. Nothing here imports the rest of gentool, and importing never compiles.
"""

from gentool.ops import native, philox, reference
from gentool.ops.functional import bce_with_logits, normal, reparam_kl, uniform
from gentool.ops.noise import stream_id

__all__ = [
    "bce_with_logits",
    "native",
    "normal",
    "philox",
    "reference",
    "reparam_kl",
    "stream_id",
    "uniform",
]
