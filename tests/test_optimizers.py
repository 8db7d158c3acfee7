"""The lean Adam against torch's own, and the choice of the library that multiplies."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from toy import trainer

from gentool import matmul, torch_internals
from gentool.model import Adam, OptimizerSpec
from gentool.train.optimizers import LeanAdam, make_optimizer
from gentool.train.rehearsal import rehearsal
from gentool.train.settings import TrainSettings

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


def test_a_training_proves_the_products_that_it_makes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Forward products of every player and of sampling are seen, whole and ragged batches alike."""
    made = trainer(tmp_path, TrainSettings(steps=5, batch_size=32, accumulate=2))
    weights = {k: v.clone() for k, v in made.model.state_dict().items()}
    generator = torch.get_rng_state()
    seen = matmul.Products()
    with rehearsal(made) as work:
        for piece in work:
            with seen:
                piece()
    shapes = {(tuple(a.shape), tuple(b.shape)) for a, b, _ in seen.factors.values()}
    for rows in (16, 2):  # parts of 32 rows, and of the ragged batch of 4
        assert {((rows, 2), (2, 4)), ((rows, 4), (4, 1)), ((rows, 2), (2, 2))} <= shapes
    assert ((64, 2), (2, 2)) in shapes and ((256, 2), (2, 2)) in shapes
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(v, weights[k]) for k, v in made.model.state_dict().items())


@pytest.mark.usefixtures("_default_matmul")
@pytest.mark.parametrize("rounding", [True, False])
def test_one_rounded_product_among_many_is_found(
    monkeypatch: pytest.MonkeyPatch, rounding: bool
) -> None:
    """A library that is exact for 64×96 and rounds another shape is not taken."""
    library = ["oneDNN"]
    monkeypatch.setattr(matmul, "matmul_library", lambda: library[0])
    monkeypatch.setattr(matmul, "leave_matmul_to_torch", lambda: library.__setitem__(0, "default"))
    product = torch.Tensor.__matmul__

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if rounding and a.dtype == torch.float32 and 11 in a.shape:
            a, b = a.bfloat16().float(), b.bfloat16().float()
        return product(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert matmul.is_exact()
    linear, other = nn.Linear(96, 80), nn.Linear(11, 7)
    matmul.prove_matmul([lambda: linear(torch.zeros(64, 96)), lambda: other(torch.zeros(5, 11))])
    assert library == ["default" if rounding else "oneDNN"]


def test_what_torch_does_not_promise_has_a_way_that_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit: norms, clipping and Adam, with torch's internals and without."""
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.randn(shape, generator=generator) for shape in ((5, 7), (3,), (2, 2, 2))]
    results = []
    for private in (True, False):
        if not private:
            monkeypatch.setattr(torch_internals, "FOREACH", False)
            monkeypatch.setattr(torch_internals, "FUSED_ADAM", None)
        clipped = [t.clone() for t in tensors]
        torch_internals.clamp_(clipped, -0.3, 0.4)
        network, _ = networks()
        optimizer = make_optimizer(Adam(1e-2), network.parameters(), CPU)
        assert isinstance(optimizer, LeanAdam) is private
        for step in range(3):
            set_gradients((network,), step)
            optimizer.step()
        found = [*torch_internals.norms(tensors), *clipped, *network.parameters()]
        results.append([t.detach().clone() for t in found])
    assert torch_internals.norms(tensors)[1] == pytest.approx(tensors[1].norm().item())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("kind", ["Adam", "SGD", "RMSprop"])
def test_an_optimizer_for_graphs_runs_its_first_steps_without_a_warning(
    kind: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """torch warns of capturable optimizers that step outside a graph, as warm-up steps do."""
    make_tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda value, device=None: make_tensor(value))
    optimizer = make_optimizer(
        OptimizerSpec(kind, 1e-3, {}), [nn.Parameter(torch.ones(2))], torch.device("cuda")
    )
    cuda = SimpleNamespace(type="cuda", is_capturing=lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda: cuda)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)  # what older torch asks
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    names = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")
    check = next(getattr(optimizer, name) for name in names if hasattr(optimizer, name))
    check()
    assert [str(w.message) for w in recwarn.list] == []
