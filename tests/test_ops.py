"""The operations through torch, with whatever kernels are loaded: native or reference.

`test_kernels_build.py` runs this file a second time with a freshly built library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from emulation import checks
from emulation.through_torch import ThroughTorch
from torch import Tensor

from gentool import ops

DOUBLE = {"dtype": torch.float64, "requires_grad": True}
STEP = torch.tensor(3)
NATIVE = ops.native.serves("cpu")


def drawn(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    return ops.reparam_kl(mu, logvar, seed=1, stream=2, step=STEP)


@pytest.mark.parametrize(
    "check",
    [c for c in checks.ALL if NATIVE or c not in (checks.reparam_drawn, checks.reparam_strided)],
    ids=lambda f: f.__name__,
)
def test_values_and_gradients_keep_their_bounds_against_float64(
    check: Callable[[ThroughTorch], None],
) -> None:
    check(ThroughTorch())


@pytest.mark.skipif(not NATIVE, reason="the fallback's noise is of another kind")
def test_native_draws_are_the_twins_bit_for_bit() -> None:
    checks.draws(ThroughTorch(), tolerance=0.0)


@pytest.mark.parametrize("method", ["bce_backward", "reparam_kl_backward"])
def test_a_zero_gradient_is_found_out(method: str) -> None:
    class Wrong(ThroughTorch):
        pass

    right = getattr(ThroughTorch, method)

    def zero(self: Any, *args: Any) -> Any:
        out = right(self, *args)
        return out.zero_() if isinstance(out, Tensor) else tuple(x.zero_() for x in out)

    setattr(Wrong, method, zero)
    check = checks.bce_shapes if method == "bce_backward" else checks.reparam_given
    with pytest.raises(AssertionError, match="gradient"):
        check(Wrong())


def test_gradients_pass_gradcheck() -> None:
    mu, logvar = (torch.randn(5, 3, **DOUBLE) for _ in range(2))
    target = torch.rand(5, 3, dtype=torch.float64)
    eps = torch.randn(5, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ops.bce_with_logits(x, target), (mu,))
    assert torch.autograd.gradcheck(lambda m, v: ops.reparam_kl(m, v, eps=eps), (mu, logvar))
    assert torch.autograd.gradcheck(drawn, (mu, logvar))


def test_second_derivatives_are_the_references_alone() -> None:
    x, v = torch.randn(4, 3, **DOUBLE), torch.randn(4, 3, **DOUBLE)
    target, eps = torch.rand(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda a: ops.reference.bce_with_logits(a, target), (x,))
    assert torch.autograd.gradgradcheck(
        lambda a, b: ops.reference.reparam_kl(a, b, eps=eps), (x, v)
    )
    for loss, name in (
        (ops.bce_with_logits(x, target).sum(), "bce_with_logits"),
        (ops.reparam_kl(x, v, eps=eps)[1].sum(), "reparam_kl"),
    ):
        with pytest.raises(RuntimeError, match=f"{name} has no second derivative"):
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            slope.sum().backward()


def opcheck_samples() -> list[tuple[Any, tuple[Any, ...]]]:
    op = torch.ops.gentool
    x = torch.randn(4, 5)
    images = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    pair = torch.randn(4, 10).chunk(2, dim=1)
    g = lambda t: t.detach().clone().requires_grad_()  # noqa: E731
    return [
        (op.bce_with_logits.default, (g(x), torch.rand(4, 5))),
        (op.bce_with_logits.default, (images.requires_grad_(), torch.rand(2, 3, 4, 4))),
        (op.bce_with_logits_backward.default, (torch.randn(4), x, torch.rand(4, 5))),
        (
            op.bce_with_logits_backward.default,
            (torch.randn(2), images.detach(), torch.rand(2, 3, 4, 4)),
        ),
        (op.reparam_kl.default, (g(x), g(x), None, 5, STEP, 0)),
        (op.reparam_kl.default, (*pair, torch.randn(4, 5), 5, None, 0)),
        (
            op.reparam_kl_backward.default,
            (torch.randn(4, 5), torch.randn(4), *pair, None, 5, STEP, 0),
        ),
        (op.normal.default, ((4, 5), 5, STEP, 0, torch.float32)),
        (op.uniform.default, ((4, 2, 3), 5, STEP, 7, torch.bfloat16)),
    ]


@pytest.mark.parametrize("index", range(9))
def test_every_operation_passes_opcheck(index: int) -> None:
    torch.library.opcheck(*opcheck_samples()[index])


def test_rows_agree_whatever_their_number() -> None:
    for sample in (ops.normal, ops.uniform):
        address = {"seed": 5, "stream": ops.stream_id("z"), "step": STEP}
        whole = sample((9, 7), **address)
        assert torch.equal(whole[4:7], sample((3, 7), row_offset=4, **address))
        assert not torch.equal(whole[:3], sample((3, 7), row_offset=4, **address))


def test_noise_depends_on_every_part_of_its_address() -> None:
    base = {"seed": 5, "stream": 6, "step": 7}
    first = ops.normal((4, 8), **base)
    assert torch.equal(first, ops.normal((4, 8), **base))
    for part in base:
        other = ops.normal((4, 8), **{**base, part: base[part] + 1})
        assert not bool((other == first).any()), part


def test_forward_and_backward_draw_the_same_noise() -> None:
    """∂z/∂logvar = ½σε at logvar = 0 is half of what z shows of ε."""
    mu, logvar = torch.zeros(6, 20, requires_grad=True), torch.zeros(6, 20, requires_grad=True)
    z, _ = drawn(mu, logvar)
    (grad,) = torch.autograd.grad(z.sum(), logvar)
    torch.testing.assert_close(grad, z.detach() / 2)
    assert torch.equal(z.detach(), ops.normal((6, 20), seed=1, stream=2, step=STEP))


def test_stream_ids_are_stable() -> None:
    assert ops.stream_id("z") == 1738669369180299458
    assert len({ops.stream_id(n) for n in ("z", "alpha", "Z", "z ", "")}) == 5


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0,), (4,), (2, 3, 4), (2, 1, 5, 5)])
def test_any_shape_has_a_value_and_a_gradient(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    target = torch.rand(shape)
    loss = ops.bce_with_logits(x, target)
    want = ops.reference.bce_with_logits(x, target)
    torch.testing.assert_close(loss, want)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    (want,) = torch.autograd.grad(want.sum(), x)
    torch.testing.assert_close(grad, want)
    z, kl = drawn(x, x)
    assert z.shape == x.shape and kl.shape == x.shape[:1]
    torch.autograd.grad(z.sum() + kl.sum(), x)


def test_channels_last_keeps_its_layout() -> None:
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    for target in (torch.rand(2, 3, 8, 8), torch.rand_like(x)):
        loss = ops.bce_with_logits(x, target)
        torch.testing.assert_close(loss, ops.reference.bce_with_logits(x, target))
        (grad,) = torch.autograd.grad(loss.sum(), x)
        assert grad.is_contiguous(memory_format=torch.channels_last)
        want = torch.sigmoid(x.detach()) - target
        torch.testing.assert_close(grad, want)


def test_mixed_dtypes_promote() -> None:
    x = torch.randn(4, 6)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        z, kl = ops.reparam_kl(x.to(dtype), x, seed=1, stream=2, step=STEP)
        assert z.dtype == torch.promote_types(dtype, torch.float32)
        assert kl.dtype == z.dtype
        target = torch.rand(4, 6, dtype=dtype)
        torch.testing.assert_close(
            ops.bce_with_logits(x, target), ops.reference.bce_with_logits(x, target)
        )
        eps = torch.randn(4, 6, dtype=dtype)
        torch.testing.assert_close(
            ops.reparam_kl(x, x, eps=eps), ops.reference.reparam_kl(x, x, eps)
        )


def test_operations_run_under_autocast() -> None:
    layer = torch.nn.Linear(6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mu, logvar = layer(torch.randn(5, 6)).chunk(2, dim=1)
        z, kl = drawn(mu, logvar)
        loss = ops.bce_with_logits(z, torch.rand(5, 4))
    assert z.dtype == torch.bfloat16 and kl.dtype == loss.dtype == torch.float32
    (kl + loss).sum().backward()
    assert bool(layer.weight.grad.abs().sum() > 0)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x, t, _ = checks.logits_and_target((300, 784), torch.float32, torch.float32)
    long = torch.randn(2, 100_003)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    ops.bce_with_logits(x, t),
                    *drawn(x, t),
                    ops.bce_with_logits(long, torch.sigmoid(long)),
                    *drawn(long, long),
                )
            )
    finally:
        torch.set_num_threads(before)
    if NATIVE:
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.slow
def test_compile_gives_the_eager_values() -> None:
    x = torch.randn(6, 5, requires_grad=True)
    target = torch.rand(6, 5)

    def f(x: Tensor, step: Tensor) -> Tensor:
        z, kl = ops.reparam_kl(x, x, seed=1, stream=2, step=step)
        return kl + ops.bce_with_logits(z, target)

    compiled = torch.compile(f, fullgraph=True)
    for step in (torch.tensor(1), torch.tensor(2)):
        got, want = compiled(x, step), f(x, step)
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(
            torch.autograd.grad(got.sum(), x), torch.autograd.grad(want.sum(), x)
        )


X, T = torch.randn(4, 5), torch.rand(4, 5)
BAD = {
    "shapes": (lambda: ops.bce_with_logits(X, T[:3]), r"target.*\(3, 5\).*logits.*\(4, 5\)"),
    "integer logits": (lambda: ops.bce_with_logits(X.long(), T), "logits must be.*int64"),
    "integer target": (lambda: ops.bce_with_logits(X, T.long()), "target must be.*int64"),
    "two devices": (lambda: ops.bce_with_logits(X, T.to("meta")), "target is on meta.*logits"),
    "scalar": (lambda: ops.bce_with_logits(X[0, 0], T[0, 0]), "logits must be.*scalar"),
    "target with gradient": (
        lambda: ops.bce_with_logits(X, T.clone().requires_grad_()),
        "target requires a gradient",
    ),
    "logvar shape": (lambda: ops.reparam_kl(X, X[:, :2], eps=X), r"logvar.*\(4, 2\).*mu"),
    "no noise": (lambda: ops.reparam_kl(X, X), "either step.*or eps"),
    "both noises": (lambda: ops.reparam_kl(X, X, 1, 2, STEP, eps=X), "either step.*or eps"),
    "eps with gradient": (
        lambda: ops.reparam_kl(X, X, eps=X.clone().requires_grad_()),
        "eps requires a gradient",
    ),
    "float step": (lambda: ops.reparam_kl(X, X, 1, 2, torch.tensor(1.0)), "step must be an int64"),
    "step elsewhere": (
        lambda: ops.reparam_kl(X, X, 1, 2, STEP.to("meta")),
        "step is on meta",
    ),
    "negative row": (lambda: ops.normal((2,), seed=0, stream=0, step=0, row_offset=-1), "row_off"),
    "integer noise": (
        lambda: ops.normal((2,), seed=0, stream=0, step=0, dtype=torch.int32),
        "dtype must be one of",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_the_kernels_check_for_themselves() -> None:
    """Through torch.ops, past the checks of the functions."""
    if not NATIVE:
        pytest.skip("the reference is called through its checks")
    with pytest.raises(ValueError, match="target has shape"):
        torch.ops.gentool.bce_with_logits(X, T[:3])
    with pytest.raises(ValueError, match="step or eps"):
        torch.ops.gentool.reparam_kl(X, X, None, 0, None, 0)


@pytest.mark.slow
def test_the_reference_gives_the_same_numbers() -> None:
    """In a process where native kernels are off; only the noise's values may differ."""
    code = """
import torch
from gentool import ops
assert not ops.native.serves("cpu") and ops.native.status().reason == "GENTOOL_KERNELS=off"
x = ops.philox.normal((40, 41), seed=1, stream=2)
t = ops.philox.uniform((40, 41), seed=3, stream=2)
z, kl = ops.reparam_kl(x, x, eps=t)
print(*ops.bce_with_logits(x, t).tolist(), *kl.tolist(), *z.flatten().tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "GENTOOL_KERNELS": "off"},
    )
    assert done.returncode == 0, done.stderr
    got = torch.tensor([float(v) for v in done.stdout.split()])
    x = ops.philox.normal((40, 41), seed=1, stream=2)
    t = ops.philox.uniform((40, 41), seed=3, stream=2)
    z, kl = ops.reparam_kl(x, x, eps=t)
    want = torch.cat([ops.bce_with_logits(x, t), kl, z.flatten()])
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
