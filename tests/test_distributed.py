"""Two processes equal one: the same data, the same noise, the same weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gentool.train.distributed import World, _buckets
from gentool.weights import read_tensors

HERE = Path(__file__).resolve().parent

WORKER = """
import sys
from pathlib import Path
import torch
import toy
from gentool.train import distributed
from gentool.train.settings import TrainSettings
from gentool.weights import save_tensors

folder, steps, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
world = distributed.join(torch.device("cpu"))
wanted = TrainSettings(steps=steps, batch_size=batch, sample_every=0, seed=3, accumulate=1)
made = toy.trainer(folder / f"rank{world.rank}", wanted, toy.ToyConfig(k=2, noise=False),
                   double=True, world=world)
for _ in range(steps):
    made.take_step()
means = made.players[0].means.take()
state = {**made.model.state_dict(), "loss": torch.tensor(means["loss"])}
save_tensors(folder / f"rank{world.rank}of{world.size}.safetensors", state)
world.barrier()
distributed.leave()
"""


def launch(code: str, size: int, *arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """Run `code` in `size` processes with torchrun's environment, one thread each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(size):
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
        }
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = []
    for process in running:
        out, err = process.communicate(timeout=600)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed")
def test_two_processes_with_half_the_batch_equal_one(tmp_path: Path) -> None:
    """In float64, after 100 steps of Adam and momentum, with ragged last batches."""
    for size in (1, 2):
        for result in launch(WORKER, size, tmp_path, 100, 33):
            assert result.returncode == 0, result.stderr
    alone = read_tensors(tmp_path / "rank0of1.safetensors")
    first = read_tensors(tmp_path / "rank0of2.safetensors")
    second = read_tensors(tmp_path / "rank1of2.safetensors")
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), f"the ranks disagree on {name}"
        torch.testing.assert_close(first[name], value, rtol=1e-10, atol=1e-10)


def test_shares_cover_a_batch_once() -> None:
    for n in (1, 2, 7, 128):
        for size in (1, 2, 3, 8):
            rows = [
                i
                for rank in range(size)
                for i in range(n)[World(torch.device("cpu"), rank, size).share(n)]
            ]
            assert rows == list(range(n))


def test_buckets_keep_dtypes_apart_and_lose_nothing() -> None:
    tensors = [torch.zeros(5), torch.zeros(3, dtype=torch.float64), torch.zeros(9 * 2**20)]
    buckets = list(_buckets([*tensors, torch.zeros(1)]))
    assert sum(t.numel() for b in buckets for t in b) == 5 + 3 + 9 * 2**20 + 1
    assert all(len({t.dtype for t in b}) == 1 for b in buckets)


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes_and_writes_once(tmp_path: Path) -> None:
    code = "from gentool.cli.main import main; main()"
    model = ("train", "vae", "--data", "glyphs:200", "--hidden", "8", "--latent-dim", "2")
    arguments = (*model, "--epochs", "2", "--batch-size", "50", "--out")
    results = launch(code, 2, *arguments, tmp_path / "run")
    assert [r.returncode for r in results] == [0, 0], results
    assert results[0].stdout.strip() == str(tmp_path / "run") and results[1].stdout == ""
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    once = [(r["epoch"], r["split"]) for r in rows if r["split"] != "warning"]
    assert sorted(once) == [(e, s) for e in (1, 2) for s in ("samples", "test", "train")]
    wrong = (*model, "--batch-size", "1", "--out", str(tmp_path / "refused"))
    refused = launch(code, 2, *wrong)
    assert [r.returncode for r in refused] == [2, 2]
    assert "cannot be shared by 2 processes" in refused[0].stderr


@pytest.mark.slow
def test_processes_with_other_data_of_the_same_shape_do_not_train(tmp_path: Path) -> None:
    """Each would train on its own, and the average of both be a model of neither."""
    for rank in range(2):
        (tmp_path / f"rank{rank}").mkdir()
        points = np.random.default_rng(rank).normal(size=(64, 2)).astype(np.float32)
        np.save(tmp_path / f"rank{rank}" / "x.npy", points)
    code = (
        "import os, sys; os.chdir(os.path.join(sys.argv.pop(), 'rank' + os.environ['RANK']))\n"
        "from gentool.cli.main import main; main()"
    )
    run = tmp_path / "run"
    model = ("train", "vae", "--data", "x.npy", "--hidden", "8", "--latent-dim", "2")
    results = launch(code, 2, *model, "--steps", "2", "--out", run, tmp_path)
    assert all(r.returncode == 2 for r in results), results
    assert "the processes read different data" in results[0].stderr
    assert not run.exists()
