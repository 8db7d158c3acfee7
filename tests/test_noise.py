"""The noise without native kernels: addressed by 64-bit keys, random access, and as it once was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result

from gentool.ops import noise, philox, stream_id


def draw(
    kind: noise.Kind, shape: tuple[int, ...], key: int, step: int, row_offset: int = 0
) -> torch.Tensor:
    return noise.draw(kind, shape, key, torch.tensor(step), row_offset, torch.float32)


def z_key(seed: int = 0) -> int:
    return philox.key_of(seed, stream_id("generator/z"))


def test_two_steps_that_once_drew_the_same_do_so_no_more() -> None:
    """torch's CPU generator keeps 32 bits of a seed, and these two steps' agreed in them."""
    with noise.version(1):
        assert torch.equal(
            draw("normal", (4, 8), z_key(), 548), draw("normal", (4, 8), z_key(), 13200)
        )
    assert not torch.equal(
        draw("normal", (4, 8), z_key(), 548), draw("normal", (4, 8), z_key(), 13200)
    )


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("width", [1, 2, 5, 7, 16, 33])
def test_rows_are_the_same_wherever_a_slice_begins(kind: noise.Kind, width: int) -> None:
    whole = draw(kind, (40, width), z_key(), 3)
    for first in (0, 1, 2, 3, 7, 11, 38):
        for rows in (1, 2, 40 - first):
            part = draw(kind, (rows, width), z_key(), 3, first)
            assert torch.equal(part, whole[first : first + rows]), (first, rows)


def test_a_row_far_out_costs_no_more() -> None:
    far = draw("normal", (2, 1000), z_key(), 5, 2**47)
    assert torch.isfinite(far).all() and far.std().item() == pytest.approx(1, abs=0.1)
    assert not torch.equal(far, draw("normal", (2, 1000), z_key(), 5))


def test_words_are_numpys_philox_from_the_start() -> None:
    """Random access: words in the middle are those of the sequence drawn from its beginning."""
    key, step = 0xFEDCBA9876543210, 77
    bits = np.random.Philox(key=np.array([key, step], dtype=np.uint64))
    sequence = bits.random_raw(500).astype("<u8").view("<u4")
    for start, count in ((0, 1), (5, 3), (8, 8), (13, 700)):
        assert np.array_equal(
            noise._words(key, step, start, count), sequence[start : start + count]
        )


def kolmogorov_smirnov(x: torch.Tensor, cdf: torch.Tensor) -> float:
    """√n·sup |F_n − F|; above 1.95 with a probability of 0.1 % (Kolmogorov's distribution)."""
    n = len(x)
    order = torch.arange(1, n + 1, dtype=torch.float64) / n
    gap = torch.maximum((order - cdf).abs(), (order - 1 / n - cdf).abs()).max()
    return math.sqrt(n) * gap.item()


@pytest.mark.parametrize("first_of_many", [False, True], ids=["one draw", "a draw a step"])
def test_normals_are_normal_and_uniforms_uniform(first_of_many: bool) -> None:
    n = 100_000 if not first_of_many else 20_000
    for kind in ("normal", "uniform"):
        if first_of_many:
            x = torch.cat([draw(kind, (2, 1), z_key(), step) for step in range(n // 2)]).flatten()
        else:
            x = draw(kind, (n, 1), z_key(), 0).flatten()
        x = x.double()
        cdf = torch.special.ndtr(x.sort().values) if kind == "normal" else x.sort().values
        assert kolmogorov_smirnov(x, cdf) < 1.95
        mean, variance = (0.0, 1.0) if kind == "normal" else (0.5, 1 / 12)
        fourth = 3.0 if kind == "normal" else 1 / 80
        assert x.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
        deviations = (x - mean).square()
        error = math.sqrt((fourth - variance**2) / n)
        assert deviations.mean().item() == pytest.approx(variance, abs=4 * error)
        pairs = (x[:-1] - mean) * (x[1:] - mean)
        assert pairs.mean().item() == pytest.approx(0, abs=4 * variance / math.sqrt(n))
    assert x.min() >= 0 and x.max() < 1


def test_the_tails_are_there() -> None:
    """Beyond 4.5σ lie 6.8 in a million; beyond 6.77 none can."""
    x = draw("normal", (4_000_000, 1), z_key(1), 0).abs()
    assert 5 <= (x > 4.5).sum() <= 60 and x.max() < 6.77


@pytest.mark.slow
def test_no_two_addresses_begin_alike() -> None:
    """200,000 (stream, step) pairs, by their first 64 bits; see benchmarks/noise_keys.py."""
    first = [
        int(noise._words(philox.key_of(0, stream_id(f"s{s}")), step, 0, 2).view("<u8")[0])
        for s in range(20)
        for step in range(10_000)
    ]
    assert len(set(first)) == len(first)


def test_version_1_draws_what_it_drew() -> None:
    """Numbers of release 0.1 before the change, so that its runs go on as they began."""
    with noise.version(1):
        seed = philox.mix64(z_key() ^ philox.mix64(7 + 1))
        expected = torch.randn(16, generator=torch.Generator().manual_seed(seed))[2:8].view(3, 2)
        assert torch.equal(draw("normal", (3, 2), z_key(), 7, 1), expected)
        order = noise.permutation(9, 3, 2)
    mixed = (3 * 0x9E3779B97F4A7C15 + 2 * 0xD1B54A32D192ED03 + 1) % 2**63
    assert torch.equal(order, torch.randperm(9, generator=torch.Generator().manual_seed(mixed)))
    assert noise._version == noise.VERSION
    with pytest.raises(ValueError, match="version 9"), noise.version(9):
        pass


def test_orders_are_permutations_of_their_own() -> None:
    orders = [noise.permutation(50, seed, epoch) for seed in range(5) for epoch in range(20)]
    assert all(torch.equal(o.sort().values, torch.arange(50)) for o in orders)
    assert len({tuple(o.tolist()) for o in orders}) == len(orders)
    assert torch.equal(orders[0], noise.permutation(50, 0, 0)) and orders[0].dtype == torch.int64


@pytest.mark.slow
def test_a_run_goes_on_with_the_noise_it_began_with(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of version 1 whose config.json does not say so, as they were; and one of today."""
    train = ("train", "gan", "--data", "ring:400", "--sample-every", 0, "--seed", 3)
    for number, name in ((1, "old"), (2, "new")):
        with monkeypatch.context() as patch:
            patch.setattr(noise, "VERSION", number)
            assert cli(*train, "--epochs", 2, "--out", f"{name}-whole").code == 0
            assert cli(*train, "--epochs", 1, "--out", name).code == 0
        config = Path(name, "config.json")
        saved = json.loads(config.read_text())
        assert saved.pop("noise") == number
        if number == 1:
            config.write_text(json.dumps(saved))
        assert cli("resume", name, "--epochs", 2).code == 0
        whole, resumed = (
            Path(f, "model.safetensors").read_bytes() for f in (f"{name}-whole", name)
        )
        assert whole == resumed
    assert Path("old/model.safetensors").read_bytes() != whole


def test_noise_of_a_later_release_is_refused(cli: Callable[..., Result]) -> None:
    cli("train", "gan", "--data", "ring:400", "--epochs", 1, "--sample-every", 0, "--out", "run")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace('"noise": 2', '"noise": 9'))
    result = cli("resume", "run", "--epochs", 2)
    assert result.code == 2 and "noise of version 9" in result.err
