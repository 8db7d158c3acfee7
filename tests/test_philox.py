"""The noise: known answers, moments, distribution, independence, address."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentool.ops import philox

# Random123 1.09, tests/kat_vectors: counter, key (low word first), result of philox4x32-10.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip
DRAWS = 10_000_000
GOLDEN = (-0.108106539, 0.578238726, 0.312712073, 1.22250032, 0.548631668, 1.74243701)


def words(text: str) -> list[int]:
    return [int(w, 16) for w in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_answers(counter: str, key: str, result: str) -> None:
    low, high = words(key)
    got = philox.philox4x32([torch.tensor(c) for c in words(counter)], high << 32 | low)
    assert [int(w) for w in got] == words(result)


def python_philox(counter: list[int], key: int) -> list[int]:
    """The algorithm in Python integers, from the paper's figure."""
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (p1 >> 32) ^ counter[1] ^ k[0],
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ counter[3] ^ k[1],
            p0 & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def test_the_address_of_a_draw() -> None:
    """Position, row, step and their high bits go where the documentation says."""
    seed, stream, step, row = 2**63 + 5, 17, 2**45 + 2**31 + 7, 2**40 + 2**32 - 1
    got = philox.uniform((3, 10), seed=seed, stream=stream, step=step, row_offset=row)
    key = philox.key_of(seed, stream)
    for r in range(3):
        for j in range(10):
            here = row + r
            high = (step >> 32 & 0xFFFF) | (here >> 32 & 0xFFFF) << 16
            counter = [j // 4, here & 0xFFFFFFFF, step & 0xFFFFFFFF, high]
            assert float(got[r, j]) == (python_philox(counter, key)[j % 4] >> 8) / 2**24


def test_normals_are_box_muller_of_the_words() -> None:
    x0 = torch.randint(0, 2**32, (200_000,), generator=torch.Generator().manual_seed(1))
    x1 = torch.randint(0, 2**32, (200_000,), generator=torch.Generator().manual_seed(2))
    x0[:4], x1[:4] = (
        torch.tensor([0, 1, 2**32 - 1, 2**31]),
        torch.tensor([0, 2**30, 2**31, 2**32 - 1]),
    )
    radius = torch.sqrt(-2 * torch.log((x0.double() + 0.5) / 2**32))
    angle = 2 * math.pi * x1.double() / 2**32
    got = philox.box_muller(x0, x1)
    for value, want in zip(
        got, (radius * torch.cos(angle), radius * torch.sin(angle)), strict=True
    ):
        # Near u = 1 the argument is a float32 next to 1; half a unit there moves the radius.
        coarse = (3.1e-8 / radius.clamp(min=1e-30)).clamp(max=4e-4)
        assert bool(((value.double() - want).abs() <= 1.5e-6 + coarse).all())


def test_golden_values_never_change() -> None:
    """These numbers must never change: saved runs and published pictures depend on them."""
    got = philox.normal((2, 3), seed=0, stream=0, step=0)
    want = torch.tensor(GOLDEN, dtype=torch.float64).to(torch.float32).view(2, 3)
    assert torch.equal(got, want)


@pytest.fixture(scope="module")
def normals() -> Tensor:
    return philox.normal((DRAWS // 8, 8), seed=7, stream=9, step=3)


def test_moments_are_those_of_the_normal(normals: Tensor) -> None:
    """Within five standard errors of 0, 1, 0, 3."""
    z, n = normals.double(), normals.numel()
    for power, want, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((z**power).mean()) - want) < 5 * math.sqrt(variance / n), power


def kolmogorov(u: Tensor) -> float:
    """√n times the largest distance between the empirical and the uniform distribution."""
    u = u.flatten().double().sort().values
    n = u.numel()
    grid = torch.arange(n, dtype=torch.float64) / n
    return float(torch.maximum((u - grid).abs().max(), (u - grid - 1 / n).abs().max())) * n**0.5


@pytest.mark.slow
def test_kolmogorov_smirnov(normals: Tensor) -> None:
    """1.95 is exceeded once in a thousand times; the seed is fixed."""
    assert kolmogorov(torch.special.ndtr(normals.double())) < 1.95
    assert kolmogorov(philox.uniform((DRAWS // 8, 8), seed=7, stream=9, step=4)) < 1.95


def correlation(a: Tensor, b: Tensor) -> float:
    """In standard errors: √n times the mean product of standard normals."""
    return abs(float((a.double() * b.double()).mean())) * math.sqrt(a.numel())


def test_neighbours_and_streams_are_uncorrelated(normals: Tensor) -> None:
    """Neighbours in a row, neighbouring rows, and other streams, seeds and steps."""
    z = normals
    assert correlation(z[:, :-1], z[:, 1:]) < 5
    assert correlation(z[:-1], z[1:]) < 5
    assert correlation(z[:, ::2] ** 2 - 1, z[:, 1::2] ** 2 - 1) / 2 < 5
    shape, base = (DRAWS // 8 // 4, 8), {"seed": 7, "stream": 9, "step": 3}
    for part in base:
        other = philox.normal(shape, **{**base, part: base[part] + 1})
        assert correlation(z[: shape[0]], other) < 5, part


def test_large_values_occur_as_often_as_they_should(normals: Tensor) -> None:
    n = normals.numel()
    for bound in (3.0, 4.0, 5.0):
        expected = n * math.erfc(bound / math.sqrt(2))
        count = int((normals.abs() > bound).sum())
        assert abs(count - expected) < 5 * math.sqrt(expected) + 1


def test_no_two_streams_share_a_key() -> None:
    keys = {philox.key_of(3, s) for s in range(20_000)} | {
        philox.key_of(s, 3) for s in range(20_000)
    }
    assert len(keys) == 40_000 - 1  # (3, 3) twice
