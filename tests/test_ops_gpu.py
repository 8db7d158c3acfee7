"""The operations on a GPU: the same checks, and what only a GPU can show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from emulation import checks
from emulation.through_torch import ThroughTorch
from torch import Tensor

from gentool import ops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
needs_native = pytest.mark.skipif(
    not ops.native.serves("cuda"), reason="needs native kernels: gentool kernels build"
)


def step(value: int = 3) -> Tensor:
    return torch.tensor(value, device="cuda")


@pytest.mark.parametrize("check", checks.ALL, ids=lambda f: f.__name__)
def test_values_and_gradients_keep_their_bounds_against_float64(
    check: Callable[[ThroughTorch], None],
) -> None:
    """Without native kernels too: on CUDA the fallback draws by Philox."""
    check(ThroughTorch("cuda"))


def test_draws_are_the_twins() -> None:
    checks.draws(ThroughTorch("cuda"), tolerance=5e-6)


@needs_native
def test_gradcheck_and_opcheck() -> None:
    make = {"dtype": torch.float64, "device": "cuda"}
    mu, logvar = (torch.randn(5, 7, **make, requires_grad=True) for _ in range(2))
    target, s = torch.rand(5, 7, **make), step()
    assert torch.autograd.gradcheck(lambda x: ops.bce_with_logits(x, target), (mu,))
    assert torch.autograd.gradcheck(lambda m, v: ops.reparam_kl(m, v, 1, 2, s), (mu, logvar))
    x = torch.randn(4, 5, device="cuda")
    torch.library.opcheck(torch.ops.gentool.bce_with_logits.default, (x, torch.zeros_like(x)))
    torch.library.opcheck(torch.ops.gentool.reparam_kl.default, (x, x, None, 5, s, 0))


def passes(shape: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """Each operation's forward and backward pass, ready to run."""
    s = step()
    mu, logvar = (torch.randn(shape, device="cuda", requires_grad=True) for _ in range(2))
    target, grad_z = torch.rand(shape, device="cuda"), torch.ones(shape, device="cuda")
    ones = torch.ones(shape[0], device="cuda")
    loss, (z, kl) = ops.bce_with_logits(mu, target), ops.reparam_kl(mu, logvar, 1, 2, s)
    return {
        "bce forward": lambda: ops.bce_with_logits(mu, target),
        "bce backward": lambda: torch.autograd.grad(loss, mu, ones, retain_graph=True),
        "reparam forward": lambda: ops.reparam_kl(mu, logvar, 1, 2, s),
        "reparam backward": lambda: torch.autograd.grad(
            (z, kl), (mu, logvar), (grad_z, ones), retain_graph=True
        ),
    }


@needs_native
@pytest.mark.parametrize("shape", [(128, 20), (128, 784), (4096, 784), (3, 41)], ids=str)
def test_no_synchronisation_and_one_launch_each_way(shape: tuple[int, int]) -> None:
    for name, call in passes(shape).items():
        call()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        activity = torch.profiler.ProfilerActivity.CUDA
        with torch.profiler.profile(activities=[activity]) as profile:
            call()
            torch.cuda.synchronize()
        events = [e.name for e in profile.events() if "CUDA" in str(e.device_type)]
        assert len(events) == 1, f"{name}: {events}"


@needs_native
def test_a_captured_graph_draws_new_noise_from_the_step() -> None:
    s = step(0)
    mu, logvar = (torch.zeros(64, 20, device="cuda", requires_grad=True) for _ in range(2))

    def work() -> tuple[Tensor, Tensor, Tensor]:
        z, kl = ops.reparam_kl(mu, logvar, 1, 2, s)
        loss = ops.bce_with_logits(z, torch.zeros_like(z)).sum() + kl.sum()
        (grad,) = torch.autograd.grad(loss, logvar)
        return z, grad, loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = work()
    for value in (5, 6):
        s.fill_(value)
        graph.replay()
        got = [x.detach().clone() for x in captured]
        for a, b in zip(got, work(), strict=True):
            assert torch.equal(a, b.detach())
        want = ops.philox.normal((64, 20), seed=1, stream=2, step=value)
        torch.testing.assert_close(got[0].cpu(), want, rtol=0, atol=5e-6)


@needs_native
def test_repeated_and_on_another_stream_the_bits_are_the_same() -> None:
    for shape in ((300, 784), (2, 2**20 + 3), (1, 2**24)):
        x, t = torch.randn(shape, device="cuda"), torch.rand(shape, device="cuda")
        first = ops.bce_with_logits(x, t)
        z, kl = ops.reparam_kl(x, t, 1, 2, step())
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.synchronize()
            again = ops.bce_with_logits(x, t)
            z_again, kl_again = ops.reparam_kl(x, t, 1, 2, step())
            torch.cuda.synchronize()
        assert torch.equal(first, again) and torch.equal(z, z_again) and torch.equal(kl, kl_again)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_device_than_the_current_one() -> None:
    x = torch.randn(5, 7, device="cuda:1")
    loss = ops.bce_with_logits(x, torch.zeros_like(x))
    torch.testing.assert_close(loss, ops.reference.bce_with_logits(x, torch.zeros_like(x)))


@needs_native
def test_more_than_two_to_the_31_elements() -> None:
    """Rows beyond 2³¹ elements, by slices of them; bfloat16 and uint8 keep it within 30 GB."""
    free = torch.cuda.mem_get_info()[0]
    if free < 32 * 2**30:
        pytest.skip("needs 32 GB of free memory on the GPU")
    rows, width = 2**31 // 1024 + 7, 1024
    x = torch.empty(rows, width, device="cuda", dtype=torch.bfloat16).normal_()
    t = torch.empty(rows, width, device="cuda", dtype=torch.uint8).random_(0, 256)
    last = slice(rows - 3, rows)
    loss = ops.bce_with_logits(x, t)
    torch.testing.assert_close(loss[last], ops.bce_with_logits(x[last], t[last]))
    grad = torch.ops.gentool.bce_with_logits_backward(torch.ones_like(loss), x, t)
    want = torch.ops.gentool.bce_with_logits_backward(
        torch.ones(3, device="cuda"), x[last], t[last]
    )
    assert torch.equal(grad[last], want)
    del grad, t
    z, kl = ops.reparam_kl(x, x, 1, 2, step())
    z_last, kl_last = ops.reparam_kl(x[last], x[last], 1, 2, step(), row_offset=rows - 3)
    assert torch.equal(z[last], z_last)
    # How many threads share a row, and so the order of its sum, depends on the number of rows.
    torch.testing.assert_close(kl[last], kl_last, rtol=1e-6, atol=0)
    one_row = x.view(1, -1)
    del z
    z, _ = ops.reparam_kl(one_row, one_row, 1, 2, step())
    far = torch.cat([z[0, :8], z[0, -8:]])
    assert bool(far.isfinite().all())


@needs_native
def test_compile_and_autocast() -> None:
    layer = torch.nn.Linear(6, 8, device="cuda")
    x, s = torch.randn(5, 6, device="cuda"), step()

    def f(x: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            mu, logvar = layer(x).chunk(2, dim=1)
            z, kl = ops.reparam_kl(mu, logvar, 1, 2, s)
        return kl + ops.bce_with_logits(z, torch.zeros_like(z))

    torch.testing.assert_close(torch.compile(f)(x), f(x), rtol=2e-2, atol=2e-2)
