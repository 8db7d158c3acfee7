"""What a step is given: the order of an epoch, pixels as floats, flips."""

from __future__ import annotations

import numpy as np
import torch

from gentool.data.dataset import Split
from gentool.train.batches import BatchLoader


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own() -> None:
    split = Split(np.arange(10, dtype=np.float32)[:, None])
    loader = BatchLoader(split, 4, torch.device("cpu"), seed=1)
    epochs = [
        torch.cat([loader.at(e * 3 + i).batch.x for i in range(3)]).flatten() for e in range(2)
    ]
    for seen in epochs:
        assert sorted(seen.tolist()) == list(range(10))
    assert not torch.equal(*epochs)
    again = BatchLoader(split, 4, torch.device("cpu"), seed=1)
    assert torch.equal(again.at(4).batch.x, loader.at(4).batch.x), (
        "the order depends on what was read before"
    )
    assert BatchLoader(split, 4, torch.device("cpu"), drop_last=True).per_epoch == 2


def test_images_become_floats_of_their_pixels_and_flips_are_fair() -> None:
    x = np.zeros((1000, 1, 1, 3), dtype=np.uint8)
    x[:, 0, 0] = (0, 51, 255)
    split = Split(x, np.zeros(1000, dtype=np.int64))
    plain = BatchLoader(split, 1000, torch.device("cpu")).at(0).batch
    torch.testing.assert_close(plain.x[0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))
    flipped = BatchLoader(split, 1000, torch.device("cpu"), flip=True).at(0).batch
    assert flipped.pixels is not None
    assert torch.equal(flipped.x, flipped.pixels / 255)
    assert 0.4 < (flipped.x[:, 0, 0, 0] == 1).float().mean() < 0.6


def test_examples_are_spread_over_the_whole_split() -> None:
    from gentool.train.batches import some_examples

    split = Split(np.arange(500, dtype=np.float32)[:, None])
    seen = some_examples(split, 256).flatten()
    assert len(seen) == 256 and seen[0] == 0 and seen[-1] > 495
    assert len(some_examples(split, 10_000)) == 500
