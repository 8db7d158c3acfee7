"""A training that is not made: what would be trained, by whom, on what, and how long it would take.

Data is loaded, the model is built, and some steps are taken and timed in this process; no run's
folder is made, and nothing is written but a picture of the data.
"""

from __future__ import annotations

import inspect
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gentool.data.dataset import Dataset
from gentool.data.inspect import save_picture
from gentool.errors import UserError
from gentool.model import Evaluates, Player, parameter_count
from gentool.train.job import Job
from gentool.train.loop import Trainer
from gentool.train.opening import remarks, surroundings
from gentool.train.recorder import Recorder
from gentool.train.rehearsal import rehearsal
from gentool.train.session import session

WARM_UP, MOST_STEPS, MOST_SECONDS = 2, 50, 3.0
"""Steps that are not timed, steps and seconds that are."""

LARGEST_TEST = 20_000
"""Test examples of an evaluation that is timed."""


def dry_run(job: Job, picture: Path | None) -> dict[str, Any]:
    """What training a job would be, as plain JSON.

    Args:
        picture: where to draw examples of the data; None draws none.

    Returns:
        "model", "data", "networks" ([{"name", "layers": [{"name", "kind", "shape",
        "parameters"}], "parameters"}]), "players", "how", "remarks", "steps", "epochs",
        "seconds_a_step", "seconds_an_evaluation" (None where there is none, or it is too long to
        be timed), "seconds", "memory" (bytes), "picture".

    Raises:
        UserError: for whatever training itself would refuse.
    """
    _check_alone()
    with session(job, lambda _: None) as s:
        if picture is not None:
            save_picture(s.dataset, picture)
        trainer = Trainer(s.model, job.spec, s.dataset, job.settings, s.world, Recorder())
        shapes: dict[str, list[int]] = {}
        with _watched(trainer.model, shapes), rehearsal(trainer) as work:
            work[0]()
        epochs = -(-trainer.total // trainer.loader.per_epoch)
        facts = {
            "model": job.plugin.name,
            "data": _data(s.dataset),
            "networks": list(_networks(trainer, shapes)),
            "players": [_player(state.player) for state in trainer.players],
            "how": surroundings(s.world.device, job.settings.precision),
            "remarks": list(remarks(trainer.model, s.world.device)),
            "steps": trainer.total,
            "epochs": epochs,
            "batch_size": trainer.loader.batch_size,
            "picture": None if picture is None else str(picture),
        }
        step, evaluation = _timed(trainer), _evaluation(trainer)
        whole = step * trainer.total + (evaluation or 0.0) * epochs
        return {
            **facts,
            "seconds_a_step": step,
            "seconds_an_evaluation": evaluation,
            "seconds": whole,
            "memory": _memory(s.world.device),
        }


def _data(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "kind": dataset.spec.kind,
        "shape": list(dataset.spec.shape),
        "train": len(dataset.train),
        "test": len(dataset.test),
        "classes": len(dataset.spec.classes),
    }


@contextmanager
def _watched(model: nn.Module, shapes: dict[str, list[int]]) -> Iterator[None]:
    """Note what each layer of a copy of the model puts out first, without the batch."""
    # The rehearsal copies the model, hooks included; they know a layer by its name.
    handles = [
        layer.register_forward_hook(_Note(name, shapes)) for name, layer in model.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Note:
    """A forward hook that survives a deep copy of its layer with the table it writes to."""

    def __init__(self, name: str, shapes: dict[str, list[int]]) -> None:
        self.name, self.shapes = name, shapes

    def __deepcopy__(self, memo: Any) -> _Note:
        return self

    def __call__(self, layer: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self.shapes.setdefault(self.name, list(output.shape[1:]))


def _networks(trainer: Trainer, shapes: dict[str, list[int]]) -> Iterator[dict[str, Any]]:
    """The layers that players train, in the order in which they are built; each network once."""
    names = {id(module): name for name, module in trainer.model.named_modules()}
    seen: set[int] = set()
    for state in trainer.players:
        network = state.player.module
        if id(network) in seen:
            continue
        seen.add(id(network))
        layers = []
        for name, layer in network.named_modules():
            own = sum(p.numel() for p in layer.parameters(recurse=False))
            if not own and next(layer.children(), None) is not None:
                continue  # what only holds other layers
            layers.append(
                {
                    "name": name or type(layer).__name__,
                    "kind": type(layer).__name__,
                    "shape": shapes.get(names.get(id(layer), "")),
                    "parameters": own,
                }
            )
        yield {
            "name": state.player.name,
            "layers": layers,
            "parameters": parameter_count(network),
        }


def _player(player: Player) -> dict[str, Any]:
    """Who updates what, by which optimizer, to make what small."""
    text = (inspect.getdoc(player.objective) or "").split("\n\n")[0].split("\n")[0]
    spec = player.optimizer
    given = ", ".join(f"{k} {v}" for k, v in {"lr": spec.lr, **spec.arguments}.items())
    return {
        "name": player.name,
        "minimises": text.rstrip("."),
        "parameters": parameter_count(player.module),
        "optimizer": f"{spec.kind}({given})",
        "steps": player.steps,
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timed(trainer: Trainer) -> float:
    """Seconds a step, on average."""
    device = trainer.world.device
    trainer.model.train()
    for _ in range(min(WARM_UP, trainer.total - 1)):
        trainer.take_step()
    _synchronise(device)
    began, first = time.perf_counter(), trainer.step
    while trainer.step < trainer.total and trainer.step - first < MOST_STEPS:
        trainer.take_step()
        _synchronise(device)
        if time.perf_counter() - began > MOST_SECONDS:
            break
    return (time.perf_counter() - began) / max(1, trainer.step - first)


def _evaluation(trainer: Trainer) -> float | None:
    """Seconds of one pass over the test split."""
    loader = trainer.test_loader
    if loader is None or loader.n > LARGEST_TEST or not isinstance(trainer.model, Evaluates):
        return None
    began = time.perf_counter()
    trainer.evaluate()
    _synchronise(trainer.world.device)
    return time.perf_counter() - began


def _memory(device: torch.device) -> int:
    """Bytes that this process had at most: of the device's memory where there is one."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _check_alone() -> None:
    """Refuse several processes, which would each tell the same; raises UserError."""
    from gentool.train.distributed import world_size

    if world_size() > 1:
        raise UserError("--dry-run looks at one process; start it without torchrun")
