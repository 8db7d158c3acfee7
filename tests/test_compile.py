"""--compile: the same training from compiled objectives, and a way back where there is none."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Result
from safetensors import safe_open
from test_graph import Recorder
from torch import Tensor

from gentool import plugins
from gentool.data import DataOptions, load
from gentool.errors import UserError
from gentool.model import Adam, Batch, Objective, Player, Step
from gentool.noise import Noise
from gentool.train import compiling
from gentool.train.compiling import CompiledObjective
from gentool.train.distributed import World
from gentool.train.graph import WARM_UP, CapturedUpdate
from gentool.train.loop import Trainer
from gentool.train.settings import TrainSettings

Cli = Callable[..., Result]
CPU = World(torch.device("cpu"))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No graph of another test, neither in memory nor on disk."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    compiling.set_up()
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A quick backend that runs what autograd makes of a graph, and counts graphs."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(compiling, "BACKEND", counter)
    return counter


def trained(
    name: str, config: dict[str, Any], folder: Path, steps: int = 20, **settings: Any
) -> Trainer:
    """The trainer of a tiny model after some steps on 70 glyphs of 8×8, the last batch ragged."""
    spec = plugins.spec_of(plugins.find(name))
    options = DataOptions(data="glyphs:70", size="8", holdout=0.0, cache=str(folder / "cache"))
    dataset = load(options)
    torch.manual_seed(0)
    model = spec.load_factory()(spec.config(**config), dataset.spec)
    chosen = TrainSettings(steps=steps, **{"batch_size": 16, "sample_every": 0, **settings})
    made = Trainer(model, spec, dataset, chosen, CPU)
    made.model.train()
    for _ in range(steps):
        made.take_step()
    return made


def failures(made: Trainer) -> list[str | None]:
    objectives = [state.objective for state in made.players]
    assert all(isinstance(o, CompiledObjective) for o in objectives)
    return [o.failure for o in objectives]  # type: ignore[union-attr]


def assert_same_weights(one: Trainer, other: Trainer, **tolerance: float) -> None:
    theirs = other.model.state_dict()
    assert one.model.state_dict().keys() == theirs.keys()
    for key, value in one.model.state_dict().items():
        torch.testing.assert_close(
            value, theirs[key], **tolerance, msg=lambda m, k=key: f"{k}: {m}"
        )


SMALL: dict[str, Any] = {"latent_dim": 3}
CASES = [
    ("vae", {**SMALL, "hidden": (8,), "conditional": True, "kl_warmup": 0.5}, {}),
    ("gan", {**SMALL, "hidden": (8, 8), "dropout": 0.3}, {"clip_grad": 1.0}),
    ("dcgan", {**SMALL, "width": 4, "spectral_norm": True}, {}),
    ("wgan", {**SMALL, "width": 4, "lipschitz": "clip"}, {"ema": 0.9}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config", "settings"), CASES, ids=[c[0] for c in CASES])
def test_compiled_training_is_the_same_training(
    name: str, config: dict[str, Any], settings: dict[str, Any], graphs: Any, tmp_path: Path
) -> None:
    """Noise, dropout, batch statistics and all; one graph a player, whatever the batch's size."""
    compiled = trained(name, config, tmp_path, compile=True, **settings)
    assert failures(compiled) == [None] * len(compiled.players)
    assert graphs.frame_count == len(compiled.players)
    assert_same_weights(compiled, trained(name, config, tmp_path, **settings), rtol=0, atol=1e-6)
    means = compiled.players[0].means.take()
    assert all(torch.isfinite(torch.tensor(v)) for v in means.values())


@pytest.mark.slow
def test_a_gradient_penalty_is_left_uncompiled_and_its_opponent_is_not(
    graphs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**SMALL, "width": 4, "lipschitz": "gp", "critic_steps": 2}
    compiled = trained("wgan", config, tmp_path, compile=True)
    critic, generator = failures(compiled)
    assert critic is not None and "differentiates a gradient" in critic
    assert generator is None and graphs.frame_count == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "warning" in line] == [
        f"warning: critic runs uncompiled: {critic}"
    ]
    assert_same_weights(compiled, trained("wgan", config, tmp_path), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_parts_of_a_batch_have_graphs_and_no_more_come(graphs: Any, tmp_path: Path) -> None:
    """Two parts begin at rows 0 and 8, of the ragged batch of 6 at 0 and 3: three graphs."""
    config = {**SMALL, "hidden": (8,)}
    made = trained("vae", config, tmp_path, steps=5, compile=True, accumulate=2)
    after_an_epoch = graphs.frame_count
    for _ in range(10):
        made.take_step()
    assert graphs.frame_count == after_an_epoch == 3
    plain = trained("vae", config, tmp_path, steps=15, accumulate=2)
    assert_same_weights(made, plain, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="--accumulate can be 4 at most"):
        TrainSettings(compile=True, accumulate=5)


def raising_backend(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no code today\nand more")


def raising_backward(graph: Any, inputs: Any) -> Any:
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    backend = aot_autograd(
        fw_compiler=lambda g, _: make_boxed_func(g.forward), bw_compiler=raising_backend
    )
    return backend(graph, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [raising_backend, raising_backward])
def test_what_does_not_compile_changes_nothing(
    backend: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bit for bit: neither batch statistics nor dropout's generator moved in the attempt."""
    monkeypatch.setattr(compiling, "BACKEND", backend)
    config = {**SMALL, "hidden": (8,), "dropout": 0.3, "batch_norm": True}
    compiled = trained("gan", config, tmp_path, steps=3, compile=True)
    assert failures(compiled) == ["no code today"] * 2
    said = capsys.readouterr().err
    assert "warning: generator runs uncompiled: no code today\n" in said and "and more" not in said
    assert_same_weights(compiled, trained("gan", config, tmp_path, steps=3), rtol=0, atol=0)


@pytest.mark.slow
def test_without_a_compiler_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch._inductor.config as inductor

    config = {**SMALL, "hidden": (4,)}
    with inductor.patch({"cpp.cxx": (None, str(tmp_path / "no-such-compiler"))}):
        compiled = trained("vae", config, tmp_path, steps=2, compile=True)
    said = capsys.readouterr().err
    assert "no C++ compiler; install g++ or clang" in said and len(said.splitlines()) == 2
    assert_same_weights(compiled, trained("vae", config, tmp_path, steps=2), rtol=0, atol=0)


def objective_of(net: torch.nn.Module, loss: Callable[[Batch], Tensor]) -> CompiledObjective:
    return CompiledObjective(Player("p", net, lambda b, s: Objective(loss(b)), Adam(1e-3)))


def value(objective: CompiledObjective, rows: int = 4) -> float:
    step = Step(Noise(0, "p", torch.tensor(0)), torch.tensor(0.0))
    return objective(Batch(torch.ones(rows, 2)), step).loss.item()


def test_an_objective_that_never_is_the_same_ends_uncompiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a number of Python's enters, each step would be another graph."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    net = torch.nn.Linear(2, 1)
    net.calls = 0  # type: ignore[assignment]

    def loss(batch: Batch) -> Tensor:
        net.calls += 1  # type: ignore[operator]
        return net(batch.x).mean() * net.calls

    objective = objective_of(net, loss)
    first, *rest = [value(objective) for _ in range(12)]
    assert rest == pytest.approx([first * i for i in range(2, 13)], rel=1e-5)
    assert objective.failure is not None and "changes from step to step" in objective.failure
    assert capsys.readouterr().err.count("warning") == 1


def test_a_decision_by_value_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    net = torch.nn.Linear(2, 1)

    def loss(batch: Batch) -> Tensor:
        x = net(batch.x).mean()
        return x if x > 0 else -x

    assert value(objective_of(net, loss)) >= 0
    line = loss.__code__.co_firstlineno + 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("warning: p runs uncompiled: ")
    assert said.endswith(f"(test_compile.py, line {line})")


def test_an_objectives_own_error_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")

    def loss(batch: Batch) -> Tensor:
        raise UserError("this model needs labels")

    with pytest.raises(UserError, match="needs labels"):
        value(objective_of(torch.nn.Linear(2, 1), loss))
    assert "uncompiled" not in capsys.readouterr().err


def test_an_update_that_is_recorded_runs_the_compiled_objective(
    graphs: Any, tmp_path: Path
) -> None:
    """A stand-in for a CUDA graph: compiled while it warms up, recorded, replayed."""
    config = {**SMALL, "hidden": (8,)}
    made, plain = (trained("vae", config, tmp_path, steps=1, compile=c) for c in (True, False))
    recorder = Recorder()
    mine, theirs = made.players[0], plain.players[0]
    mine.captured = CapturedUpdate(mine._update_on_device, recorder)
    for i in range(10):
        draw = plain.loader.at(i % 4)  # full batches
        mine.update(draw)
        theirs.update(draw)
    assert recorder.captures == 1 and recorder.replays == 10 - WARM_UP
    assert graphs.frame_count == 1
    assert_same_weights(made, plain, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_run_resumes_bit_for_bit(cli: Cli, graphs: Any, tmp_path: Path) -> None:
    options = ["--data", "ring:90", "--batch-size", 32, "--hidden", 8, "--sample-every", 0]
    once = ["train", "vae", *options, "--compile"]
    assert cli(*once, "--epochs", 2, "--out", "whole").code == 0
    assert cli(*once, "--epochs", 1, "--out", "parts").code == 0
    assert json.loads((tmp_path / "parts/config.json").read_text())["settings"]["compile"] is True
    before = graphs.frame_count
    result = cli("resume", "parts", "--epochs", 2)
    assert result.code == 0 and "compiling elbo" in result.err
    assert graphs.frame_count == before + 1
    whole, parts = (tmp_path / run / "model.safetensors" for run in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    with safe_open(whole, "pt") as file:
        assert not [key for key in file.keys() if "_orig_mod" in key]  # noqa: SIM118
    assert cli("sample", "parts", "--n", 4, "--out", "grid.png").code == 0


def test_torch_is_compiled_for_in_the_users_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "TORCHINDUCTOR_CACHE_DIR"
    compiling.keep_code_in(tmp_path / "mine")
    assert os.environ[name] == str(tmp_path / "compiled"), "what the user set is left"
    monkeypatch.delenv(name)
    (tmp_path / "file").write_text("")
    compiling.keep_code_in(tmp_path / "file" / "below")
    aside = Path(os.environ[name])
    assert aside.is_dir() and aside.stat().st_mode & 0o777 == 0o700 and aside != tmp_path / "file"
    monkeypatch.delenv(name)
    compiling.keep_code_in(tmp_path / "mine")
    assert os.environ[name] == str(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is None,
    reason="torch.compile needs a C++ compiler",
)
def test_real_code_trains_alike(tmp_path: Path) -> None:
    config = {**SMALL, "hidden": (4,)}
    compiled = trained("vae", config, tmp_path, compile=True)
    assert failures(compiled) == [None]
    assert list((tmp_path / "compiled").rglob("*.so"))
    assert_same_weights(compiled, trained("vae", config, tmp_path), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "torch.compile with aot_autograd does not currently support double backward",
        "Unsupported Tensor.requires_grad_() call\n  Explanation: Dynamo does not support it",
        "Attempted to call autograd.grad in a graph",
    ],
)
def test_each_wording_of_a_gradient_of_a_gradient_is_known(text: str) -> None:
    """torch 2.11 words it differently from later versions."""
    assert compiling.reason(RuntimeError(text)) == (
        "its objective differentiates a gradient, which torch.compile cannot do"
    )
