"""The lean Adam against torch's own, and the choice of the library that multiplies."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from gentool.model import Adam, OptimizerSpec
from gentool.train import matmul
from gentool.train.optimizers import LeanAdam, make_optimizer

CPU = torch.device("cpu")


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    return one, copy.deepcopy(one)


def set_gradients(modules: tuple[nn.Module, ...], seed: int, without: int | None = None) -> None:
    for module in modules:
        generator = torch.Generator().manual_seed(seed)
        for i, p in enumerate(module.parameters()):
            gradient = torch.randn(p.shape, generator=generator)
            p.grad = None if i == without else gradient


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("arguments", [{}, {"weight_decay": 0.1}, {"maximize": True}])
def test_lean_adam_is_torchs_bit_for_bit(arguments: dict[str, float]) -> None:
    mine, theirs = networks()
    lean = make_optimizer(OptimizerSpec("Adam", 1e-2, arguments), mine.parameters(), CPU)
    usual = torch.optim.Adam(theirs.parameters(), lr=1e-2, fused=True, **arguments)  # type: ignore[arg-type]
    assert isinstance(lean, LeanAdam)
    before = copy.deepcopy(mine)
    for step in range(10):
        set_gradients((mine, theirs), step)
        for group in (*lean.param_groups, *usual.param_groups):
            group["lr"] = 1e-2 / (1 + step)
        lean.step()
        usual.step()
        assert same(mine, theirs)
    assert not same(mine, before)
    assert lean._state_lists is not None  # torch's own step ran but once


def test_a_missing_gradient_counts_for_its_parameter_alone() -> None:
    mine, theirs = networks()
    lean = make_optimizer(Adam(1e-2), mine.parameters(), CPU)
    usual = torch.optim.Adam(theirs.parameters(), lr=1e-2, fused=True)
    for step, without in enumerate([None, None, 1, None, None, 0, 1, None]):
        set_gradients((mine, theirs), step, without)
        lean.step()
        usual.step()
        assert same(mine, theirs), step
    assert [int(s["step"]) for s in lean.state.values()] == [7, 6, 8, 8]


def test_lean_adam_goes_on_from_a_saved_state() -> None:
    mine, theirs = networks()
    lean = make_optimizer(Adam(1e-2), mine.parameters(), CPU)
    for step in range(3):
        set_gradients((mine,), step)
        lean.step()
    theirs.load_state_dict(mine.state_dict())
    later = make_optimizer(Adam(1e-2), theirs.parameters(), CPU)
    later.load_state_dict(copy.deepcopy(lean.state_dict()))
    for step in range(3, 6):
        set_gradients((mine, theirs), step)
        lean.step()
        later.step()
        assert same(mine, theirs)


def test_what_lean_adam_does_not_know_is_left_to_torch() -> None:
    mine, _ = networks()
    for arguments in ({"decoupled_weight_decay": True}, {"amsgrad": True}, {"fused": False}):
        spec = OptimizerSpec("Adam", 1e-2, arguments)
        assert type(make_optimizer(spec, mine.parameters(), CPU)) is torch.optim.Adam
    assert type(make_optimizer(Adam(1e-2), mine.parameters(), CPU, scaled=True)) is torch.optim.Adam


@pytest.fixture
def _default_matmul() -> Iterator[None]:
    matmul.leave_matmul_to_torch()
    yield
    matmul.leave_matmul_to_torch()


@pytest.mark.usefixtures("_default_matmul")
def test_another_library_multiplies_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_is_left_at_avx2", lambda: True)  # as on AMD with AVX-512
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    exact = matmul.is_exact()  # not so where the processor has AMX
    matmul.leave_matmul_to_torch()
    matmul.choose_matmul(CPU)
    assert matmul.matmul_library() == ("oneDNN" if exact else "default")
    generator = torch.Generator().manual_seed(1)
    for n, k, m in ((128, 784, 400), (20, 200, 50), (7, 3, 5)):
        x, w = (torch.randn(s, generator=generator) for s in ((n, k), (m, k)))
        exact = x.double() @ w.double().T
        assert (x @ w.T - exact).norm() < 2e-6 * exact.norm()


@pytest.mark.usefixtures("_default_matmul")
def test_the_choice_is_taken_back_where_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_is_left_at_avx2", lambda: True)
    monkeypatch.setattr(matmul, "is_exact", lambda: False)
    matmul.choose_matmul(CPU)
    assert matmul.matmul_library() == "default"


@pytest.mark.usefixtures("_default_matmul")
def test_the_probe_finds_products_of_rounded_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matmul.is_exact()
    product = torch.Tensor.__matmul__

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.dtype == torch.float32:
            a, b = a.bfloat16().float(), b.bfloat16().float()
        return product(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not matmul.is_exact()


@pytest.mark.usefixtures("_default_matmul")
def test_other_devices_and_processors_keep_torchs_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_is_left_at_avx2", lambda: False)
    matmul.choose_matmul(CPU)
    monkeypatch.setattr(matmul, "_is_left_at_avx2", lambda: True)
    matmul.choose_matmul(torch.device("cuda"))
    assert matmul.matmul_library() == "default"
