"""What models share that play a generator against a discriminator."""

from __future__ import annotations

from collections.abc import Mapping

SATURATED = 0.995
"""An accuracy of the discriminator that leaves the generator nothing to follow."""


def saturation(scalars: Mapping[str, float], advice: str) -> list[str]:
    """A warning where the discriminator is so sure that the generator gets no useful gradient.

    Args:
        scalars: with ``d_accuracy``, the share of examples that the discriminator tells apart.
        advice: what to try, such as "--dropout 0.3 or a lower --lr".
    """
    accuracy = scalars.get("d_accuracy", 0.0)
    if accuracy < SATURATED:
        return []
    told = f"the discriminator tells {accuracy:.1%} apart, so the generator learns little; "
    return [f"{told}try {advice}"]
