"""--size and --channels for sources whose images come in one fixed form, such as MNIST."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from gentool.console import Progress
from gentool.data import cache
from gentool.data.dataset import Loaded, Split
from gentool.data.decoding import decode
from gentool.data.options import DataOptions
from gentool.errors import UserError, printable


def as_asked(found: Loaded, options: DataOptions, progress: Progress) -> Loaded:
    """The images at the size and with the channels of the options; most are so already.

    Converted images go to the cache under the content they were made from. Raises UserError for
    points, which have neither.
    """
    size, channels = options.height_width(), options.channels
    if found.train.x.ndim != 4:
        if size is not None or channels != "auto":
            raise UserError(
                f"{printable(options.data)} holds points; --size and --channels are for images"
            )
        return found
    now = found.train.x.shape[1:]
    wanted = {"auto": now[0], "grey": 1, "rgb": 3}[channels]
    target = decode.Target(size or now[1:], wanted, options.fit)
    if (wanted, *(size or now[1:])) == now:
        return found
    key = {
        "source": "reshaped",
        "content": found.content,
        "to": [wanted, size, options.fit if size else None],
        "decoder": decode.VERSION,
    }
    if (kept := cache.look_up(options, key)) is not None:
        return kept
    with cache.Draft(options, key) as draft:
        train = _converted(draft, "train", found.train, target, progress)
        test = found.test and _converted(draft, "test", found.test, target, progress)
        made = replace(found, train=train, test=test, content="")
        return draft.commit(made)


def _converted(
    draft: cache.Draft, name: str, split: Split, target: decode.Target, progress: Progress
) -> Split:
    """Written to the cache as it is made: at a larger size it may not fit in memory."""
    assert target.size is not None
    out = draft.array(name, (len(split), target.channels, *target.size), np.uint8)
    for i, pixels in enumerate(split.x):
        picture = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
        out[i] = decode.convert(Image.fromarray(picture), target)
        if i % 1024 == 0:
            progress("resizing images", i, len(split))
    return replace(split, x=out)
