"""The flow keeps gentool's contract, inverts exactly, and its likelihood is a density."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from gentool_realnvp import RealNVPConfig
from gentool_realnvp.model import RealNVP

from gentool import data
from gentool.data.options import DataOptions
from gentool.latent.reconstruct import reconstruct
from gentool.model import Batch
from gentool.noise import sampling_noise
from gentool.spec import DataSpec
from gentool.testing import check_model, train_briefly
from gentool.train.batches import some_examples


def test_the_model_keeps_the_contract() -> None:
    check_model("realnvp", hidden=16, couplings=4)


def shaken(kind: str, shape: tuple[int, ...]) -> RealNVP:
    """A flow in float64 whose couplings are no longer the identity."""
    torch.manual_seed(0)
    model = RealNVP(RealNVPConfig(couplings=4, hidden=16), DataSpec(kind, shape)).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    model.range.scale.fill_(1.7)
    return model


def test_log_det_is_that_of_the_jacobian() -> None:
    """Against autograd's Jacobian of the whole map, on points and on images."""
    for kind, shape in (("points", (3,)), ("image", (1, 2, 3))):
        model = shaken(kind, shape)
        x = torch.rand(2, *shape, dtype=torch.float64)
        for one in x:
            z = model.encode(one[None])[0]
            jacobian = torch.autograd.functional.jacobian(model.encode, one[None])
            expected = jacobian.reshape(len(z), -1).slogdet().logabsdet
            expected -= 0.5 * (z.square() + math.log(2 * math.pi)).sum()
            torch.testing.assert_close(model.log_prob(one[None])[0], expected)
        torch.testing.assert_close(model.sample(model.encode(x)), x)


def test_what_it_was_shown_comes_back(tmp_path: Path) -> None:
    """x → z → x to 1e-5 in float32, images and points, after some training."""
    for source, more in (("glyphs:256", {"hidden": 32, "couplings": 4}), ("ring:2000", {})):
        loaded = train_briefly("realnvp", source=source, steps=60, **more)
        dataset = data.load(DataOptions(data=source, cache=str(tmp_path)))
        x = some_examples(dataset.test, 20)
        found = reconstruct(loaded.model.eval(), x)
        assert found.method == "encoder" and found.error.sqrt().max() < 1e-5


def test_it_learns_where_the_points_are() -> None:
    loaded = train_briefly("realnvp", source="ring:5000", steps=300, hidden=32, lr=5e-3)
    found = loaded.model.log_weights(Batch(torch.randn(50, 2)), 2, sampling_noise(0))
    assert found.shape == (2, 50) and torch.equal(found[0], found[1])
    angle = torch.arange(8) * math.pi / 4
    modes = torch.stack([angle.cos(), angle.sin()], dim=1)
    with torch.no_grad():
        assert loaded.model.log_prob(modes).min() > loaded.model.log_prob(3 * modes).max()
