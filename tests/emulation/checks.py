"""What every implementation of the operations must satisfy, whichever way it is reached.

Each check takes an object with the methods of `Implementation`: the torch operations on some
device, the CPU kernels alone, or the CUDA kernels under emulation. The expected values are
computed here in float64 from textbook formulas and torch.distributions, not by the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gentool import ops

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# Relative error of a stored value: half a unit in the last place, and a little for float32 work.
ROUNDING = {
    torch.float32: 1e-6,
    torch.float64: 1e-12,
    torch.float16: 2**-11 + 1e-6,
    torch.bfloat16: 2**-8 + 1e-6,
}
SEED, STREAM, STEP, OFFSET = 11, 22, 33, 44
KEY = ops.philox.key_of(SEED, STREAM)
SHAPES = ((1, 1), (3, 2), (5, 20), (7, 41), (130, 3), (2, 784), (3, 1271), (1, 20011))


class Implementation(Protocol):
    def bce(self, logits: Tensor, target: Tensor) -> Tensor: ...
    def bce_backward(self, grad: Tensor, logits: Tensor, target: Tensor) -> Tensor: ...
    def reparam_kl(
        self, mu: Tensor, logvar: Tensor, eps: Tensor | None, key: int, step: int, offset: int
    ) -> tuple[Tensor, Tensor]: ...
    def reparam_kl_backward(
        self,
        grad_z: Tensor,
        grad_kl: Tensor,
        mu: Tensor,
        logvar: Tensor,
        eps: Tensor | None,
        key: int,
        step: int,
        offset: int,
    ) -> tuple[Tensor, Tensor]: ...
    def draw(
        self, kind: str, shape: Sequence[int], key: int, step: int, offset: int, dtype: torch.dtype
    ) -> Tensor: ...


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near(got: Tensor, want: Tensor, tolerance: Tensor | float, what: str) -> None:
    """|got − want| ≤ tolerance elementwise, the shapes equal and nothing NaN."""
    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}"
    error = (got.detach().double() - want).abs()
    excess = (error - tolerance).detach()
    assert not bool(excess.isnan().any()), f"{what}: NaN"
    worst = float(excess.max()) if excess.numel() else 0.0
    assert worst <= 0, (
        f"{what}: beyond the tolerance by {worst:.3g}, error {float(error.max()):.3g}"
    )


def logits_and_target(
    shape: Sequence[int], dtype: torch.dtype, target: torch.dtype, scale: float = 4.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets (0 and 1 among them) and the targets as float64 probabilities."""
    g = generator(sum(shape))
    x = (scale * torch.randn(tuple(shape), generator=g)).to(dtype)
    t = torch.rand(tuple(shape), generator=g)
    t = torch.where(torch.rand(tuple(shape), generator=g) < 0.5, t.round(), t)
    if target == torch.uint8:
        t = (t * 255).round().to(torch.uint8)
        return x, t, t.double() / 255
    t = t.to(target)
    return x, t, t.double()


def bce_values(impl: Implementation, x: Tensor, t: Tensor, p: Tensor) -> None:
    """Sums to 1e-6 and gradients to 3e-7·max(σ(x), t), for an upstream gradient that is not 1."""
    x64 = x.double().requires_grad_()
    want = F.binary_cross_entropy_with_logits(x64, p, reduction="none").sum(1)
    got = impl.bce(x, t)
    assert got.dtype == (torch.float64 if x.dtype == torch.float64 else torch.float32)
    near(got, want.detach(), 1e-6 * want.detach() + 1e-30, "bce sums")
    upstream = torch.linspace(-2, 3, x.shape[0], dtype=got.dtype)
    (slope,) = torch.autograd.grad(want.sum(), x64)
    expected = slope * upstream.double().unsqueeze(1)
    scale = torch.maximum(torch.sigmoid(x64.detach()), p) * upstream.abs().double().unsqueeze(1)
    stored = 0.0 if x.dtype == torch.float32 else ROUNDING[x.dtype]
    grad = impl.bce_backward(upstream, x, t)
    assert grad.dtype == x.dtype
    floor = 6e-8 if x.dtype == torch.float16 else 1e-44  # half the least subnormal, or so
    near(grad, expected, 3.6e-7 * scale + stored * expected.abs() + floor, "bce gradient")
    unit = impl.bce_backward(torch.ones(1, dtype=got.dtype).expand(x.shape[0]), x, t)
    tolerance = 3e-7 * torch.maximum(torch.sigmoid(x64.detach()), p) + stored * slope.abs() + floor
    near(unit, slope, tolerance, "bce gradient for upstream 1")


def bce_shapes(impl: Implementation) -> None:
    for shape in SHAPES:
        bce_values(impl, *logits_and_target(shape, torch.float32, torch.float32))


def bce_dtypes(impl: Implementation) -> None:
    for dtype in FLOATS:
        for target in dict.fromkeys((dtype, torch.float32, torch.uint8)):
            if dtype == torch.float64 and target == torch.float32:
                continue
            for shape in ((5, 41), (3, 64), (4, 784)):
                bce_values(impl, *logits_and_target(shape, dtype, target))


def bce_bytes_in_double(impl: Implementation) -> None:
    """With float64 logits a byte is t/255 in float64, not in float32."""
    x, t, p = logits_and_target((5, 41), torch.float64, torch.uint8)
    x64 = x.clone().requires_grad_()
    want = F.binary_cross_entropy_with_logits(x64, p, reduction="none").sum(1)
    (slope,) = torch.autograd.grad(want.sum(), x64)
    near(impl.bce(x, t), want.detach(), 1e-13 * want.detach(), "bce sums of bytes in double")
    grad = impl.bce_backward(torch.ones(5, dtype=torch.float64), x, t)
    near(grad, slope, torch.tensor(1e-14, dtype=torch.float64), "bce gradient of bytes in double")


def bce_easy_pixels(impl: Implementation) -> None:
    """Where the loss is tiny because the model is right, it is still accurate."""
    x = torch.tensor([[-10.0, -20.0, -50.0, 10.0, 30.0, 80.0, -80.0, 0.0]])
    t = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0]])
    for columns in (slice(0, 3), slice(3, 6), slice(6, 8), slice(0, 1), slice(1, 2)):
        bce_values(
            impl, x[:, columns].contiguous(), t[:, columns].contiguous(), t[:, columns].double()
        )
    bce_easy_alone(impl, 2e-6)


def bce_easy_alone(impl: Implementation, tolerance: float) -> None:
    """Each easy pixel's loss to a relative tolerance.

    PyTorch's own formula cancels here, in float64 too: the loss is softplus(x), its slope σ(x).
    """
    x = -torch.linspace(11, 51, 41).unsqueeze(1)
    want, slope = F.softplus(x.double()).squeeze(1), torch.sigmoid(x.double())
    near(impl.bce(x, torch.zeros_like(x)), want, tolerance * want, "bce of one easy pixel")
    got = impl.bce_backward(torch.ones(len(x)), x, torch.zeros_like(x))
    near(got, slope, 3e-7 * slope, "gradient of one easy pixel")


def bce_extremes(impl: Implementation) -> None:
    """Infinite and NaN logits give what PyTorch gives; the largest finite ones stay finite."""
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([[inf], [inf], [inf], [-inf], [-inf], [-inf], [nan], [3e38], [-3e38], [1.0]])
    t = torch.tensor([[0.0], [0.5], [1.0], [0.0], [0.5], [1.0], [0.5], [1.0], [0.0], [nan]])
    logits = x.clone().requires_grad_()
    want = F.binary_cross_entropy_with_logits(logits, t, reduction="none")
    (slope,) = torch.autograd.grad(want.sum(), logits)
    got, grad = impl.bce(x, t), impl.bce_backward(torch.ones(10), x, t)
    torch.testing.assert_close(got, want.detach().squeeze(1), equal_nan=True, rtol=1e-6, atol=0)
    torch.testing.assert_close(grad, slope, equal_nan=True, rtol=1e-6, atol=1e-7)


def bce_strided(impl: Implementation) -> None:
    """Rows that are not a row's width apart, and memory that no vector is aligned to."""
    for width, step, start in ((41, 64, 3), (64, 80, 0), (784, 1600, 1), (3, 5, 2)):
        x, t, p = logits_and_target((6, step), torch.float32, torch.float32)
        cut = (slice(None), slice(start, start + width))
        bce_values(impl, x[cut], t[cut], p[cut])
        bce_values(impl, x[cut], (t * 255).to(torch.uint8)[cut].contiguous(),
                   (t * 255).to(torch.uint8)[cut].double() / 255)  # fmt: skip


def bce_long_rows(impl: Implementation) -> None:
    """A row of 2¹⁸: segments, and on the GPU a second step that adds them up."""
    bce_values(impl, *logits_and_target((1, 2**18 + 5), torch.float32, torch.uint8))
    bce_values(impl, *logits_and_target((3, 2**17 + 64), torch.bfloat16, torch.uint8))


def moments(shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    g = generator(sum(shape) + 1)
    mu, logvar, eps = (torch.randn(tuple(shape), generator=g) for _ in range(3))
    return mu.to(dtype), (2 * logvar).to(dtype), eps


def reparam_values(
    impl: Implementation, mu: Tensor, logvar: Tensor, eps: Tensor | None, noise: Tensor
) -> None:
    """z, KL and both gradients against torch.distributions in float64."""
    m, v = (x.double().requires_grad_() for x in (mu, logvar))
    sigma = torch.exp(v / 2)
    z_want = m + sigma * noise.double()
    kl_want = kl_divergence(Normal(m, sigma), Normal(0.0, 1.0)).sum(1)
    address = (KEY, STEP, OFFSET)
    z, kl = impl.reparam_kl(mu, logvar, eps, *address)
    assert z.dtype == mu.dtype
    stored = ROUNDING[mu.dtype]
    size = m.abs() + sigma * noise.abs().double()
    drawn = 0.0 if eps is not None else 5e-6  # the GPU's sine and cosine
    near(z, z_want.detach(), (stored * size + drawn * sigma).detach(), "z")
    near(kl, kl_want.detach(), 1e-6 * kl_want.detach() + 1e-7 * mu.shape[1], "KL")
    g = generator(9)
    up_z = torch.randn(mu.shape, generator=g).to(mu.dtype)
    up_kl = torch.randn(mu.shape[0], generator=g).to(kl.dtype)
    want = torch.autograd.grad((z_want, kl_want), (m, v), (up_z.double(), up_kl.double()))
    got = impl.reparam_kl_backward(up_z, up_kl, mu, logvar, eps, *address)
    k, gz = up_kl.double().unsqueeze(1).abs(), up_z.double().abs()
    scales = (gz + k * m.abs(), gz * sigma * (noise.abs() + drawn / stored) + k * (sigma**2 + 1))
    for name, a, b, scale in zip(("mu", "logvar"), got, want, scales, strict=True):
        assert a.dtype == mu.dtype
        near(a, b, (stored * scale).detach() + 1e-37, f"gradient of {name}")


def reparam_given(impl: Implementation) -> None:
    for shape in SHAPES:
        mu, logvar, eps = moments(shape, torch.float32)
        reparam_values(impl, mu, logvar, eps, eps)
    for dtype in FLOATS:
        for shape in ((5, 41), (3, 64)):
            mu, logvar, eps = moments(shape, dtype)
            eps = eps.double() if dtype == torch.float64 else eps
            reparam_values(impl, mu, logvar, eps, eps)


def reparam_drawn(impl: Implementation) -> None:
    """ε drawn from its address, forward and backward, is that of the twin."""
    for dtype in FLOATS:
        for shape in SHAPES if dtype == torch.float32 else ((5, 41), (3, 64)):
            mu, logvar, _ = moments(shape, dtype)
            eps = twin("normal", shape)
            reparam_values(impl, mu, logvar, None, eps)


def reparam_strided(impl: Implementation) -> None:
    """The halves of one tensor, as an encoder gives them."""
    for width in (20, 21, 64):
        both = torch.randn(6, 2 * width, generator=generator(width))
        mu, logvar = both.chunk(2, dim=1)
        eps = twin("normal", mu.shape)
        reparam_values(impl, mu, logvar, None, eps)


def reparam_extremes(impl: Implementation) -> None:
    """Infinities and NaN as in plain torch; σ and the KL of large and small log variances."""
    inf, nan = float("inf"), float("nan")
    v = torch.tensor([[inf], [-inf], [nan], [100.0], [-100.0], [170.0], [-200.0], [0.0], [1e-4]])
    mu, eps = torch.full_like(v, 0.5), torch.full_like(v, -1.5)
    z, kl = impl.reparam_kl(mu, v, eps, 0, 0, 0)
    want_z = mu + torch.exp(v.double() / 2).float() * eps
    want_kl = (0.5 * (torch.expm1(v.double()) - v + mu**2)).float()
    want_kl[5] = inf  # σ² = e¹⁷⁰ is beyond float32
    torch.testing.assert_close(z, want_z, equal_nan=True, rtol=1e-6, atol=0)
    torch.testing.assert_close(kl.unsqueeze(1), want_kl, equal_nan=True, rtol=1e-6, atol=0)


def reparam_long_rows(impl: Implementation) -> None:
    """Rows of 2¹⁶: the noise of a segment is that of its place in the row."""
    mu, logvar, _ = moments((2, 2**16 + 3), torch.float32)
    reparam_values(impl, mu, logvar, None, twin("normal", mu.shape))


def twin(kind: str, shape: Sequence[int], step: int = STEP, offset: int = OFFSET) -> Tensor:
    sample = ops.philox.normal if kind == "normal" else ops.philox.uniform
    return sample(shape, seed=SEED, stream=STREAM, step=step, row_offset=offset)


def draws(impl: Implementation, tolerance: float) -> None:
    """Normals and uniforms are the twin's, far rows and far steps included."""
    for shape in (*SHAPES, (3, 2050)):
        for step, offset in ((STEP, OFFSET), (2**40 + 5, 2**33 + 1), (0, 2**32 - 2)):
            got = impl.draw("normal", shape, KEY, step, offset, torch.float32)
            near(got, twin("normal", shape, step, offset).double(), tolerance, "normals")
            got = impl.draw("uniform", shape, KEY, step, offset, torch.float32)
            assert torch.equal(got, twin("uniform", shape, step, offset)), "uniforms"
    for dtype in FLOATS:
        got = impl.draw("uniform", (5, 41), KEY, STEP, OFFSET, dtype)
        want = ops.philox.uniform(
            (5, 41), seed=SEED, stream=STREAM, step=STEP, row_offset=OFFSET, dtype=dtype
        )
        assert got.dtype == dtype and torch.equal(got, want), "uniforms of another dtype"
        assert bool((got >= 0).all() and (got < 1).all())


ALL = (
    bce_shapes,
    bce_dtypes,
    bce_bytes_in_double,
    bce_easy_pixels,
    bce_extremes,
    bce_strided,
    reparam_given,
    reparam_drawn,
    reparam_strided,
    reparam_extremes,
)
