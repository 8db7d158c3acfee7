"""The source is found and deterministic; the metric knows moons from what is none."""

from __future__ import annotations

import numpy as np
import torch
from gentool_moons.moons import draw, judge

from gentool.data import DataOptions, load


def test_the_source_is_found_and_always_the_same(tmp_path) -> None:
    made = [load(DataOptions(data="moons:500", cache=str(tmp_path / c))) for c in "ab"]
    assert made[0].train.x.shape == (500, 2) and len(made[0].test) == 50
    assert made[0].spec.classes == ("upper", "lower")
    assert np.array_equal(made[0].train.x, made[1].train.x)
    assert not np.array_equal(made[0].train.x[:50], made[0].test.x)


def test_the_metric_is_right_on_moons_and_off_them() -> None:
    x = torch.from_numpy(draw(4000, 2).x)
    # Beyond 3σ of the nearest point of the curve lies exp(−9/2) of a plane Gaussian at most.
    found = judge(x, x)
    assert found["on_moons"] > 0.985 and found["moons_reached"] == 1.0
    half = x[x[:, 1] > 0.6]  # the upper moon's top alone
    assert judge(x, half)["on_moons"] > 0.95 and judge(x, half)["moons_reached"] < 0.5
    assert judge(x, x + 10) == {"on_moons": 0.0, "moons_reached": 0.0}
