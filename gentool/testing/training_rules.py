"""Rules about training: files that hold everything, exact resume, other precisions and sizes."""

from __future__ import annotations

import torch

from gentool.folder import Folder
from gentool.loading import build_skeleton, check_tensors, materialise
from gentool.model import Model
from gentool.testing.player_rules import check_objective
from gentool.testing.subject import (
    CPU,
    Candidate,
    ConformanceError,
    Skip,
    alone,
    demand,
    first_difference,
    step_at,
)
from gentool.train.loop import Trainer
from gentool.train.player import autocast
from gentool.train.state import load_newest, save
from gentool.weights import read_header, read_tensors, save_model

CLOSE = 1e-5
"""Relative difference of samples from weights that are equal bit for bit."""

ODD_SHAPES: dict[str, list[tuple[int, ...]]] = {
    "image": [(3, 17, 23), (1, 28, 28)],
    "points": [(1,), (5,)],
}


def _rounds(trainer: Trainer) -> int:
    """Steps of the first player that hold two whole rounds and a bit."""
    return 2 * trainer.players[0].player.steps + 2


def _train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.take_step()


def save_and_load(subject: Candidate) -> None:
    """A trained model comes back from its file bit for bit, and samples the same."""
    trainer = subject.trainer(steps=20)
    _train(trainer, _rounds(trainer))
    model, file = trainer.model, subject.place("saved") / "model.safetensors"
    save_model(file, model.state_dict(), subject.header())
    header = read_header(file)
    skeleton = build_skeleton(subject.spec, subject.config, header, file)
    tensors = read_tensors(file)
    check_tensors(tensors, skeleton, file)
    torch.manual_seed(99)  # whatever is not in the file must not come from chance
    loaded = materialise(subject.spec, subject.config, header, skeleton, tensors)
    wrong = first_difference(model.state_dict(), loaded.state_dict())
    demand(wrong is None, f"{wrong!r} does not come back from model.safetensors")
    for name, module in model.named_modules():
        loose = next((k for k, v in vars(module).items() if isinstance(v, torch.Tensor)), None)
        demand(
            loose is None,
            f"the attribute {'.'.join(filter(None, (name, loose)))!r} is neither a parameter nor a "
            "buffer, so it is not saved and stays on the CPU; use register_buffer",
        )
    forgotten = _forgotten(model, loaded)
    demand(
        forgotten is None,
        f"the buffer {forgotten!r} changes in training but is not saved; register it with "
        "persistent=True",
    )
    # Weights are equal in every bit; another memory layout of them rounds otherwise.
    once, again = subject.samples(model), subject.samples(loaded)
    demand(
        (once - again).abs().max().item() <= CLOSE * max(1.0, once.abs().max().item()),
        "a loaded model samples differently: something that training changes is neither a "
        "parameter nor a buffer; use register_buffer",
    )


def _forgotten(model: Model, loaded: Model) -> str | None:
    """A buffer outside the state dict whose value was lost."""
    other = dict(loaded.named_buffers())
    for name, value in model.named_buffers():
        if name not in model.state_dict() and not torch.equal(value, other[name]):
            return name
    return None


def resume(subject: Candidate) -> None:
    """Training that stops and goes on ends with the same weights, bit for bit."""
    whole = subject.trainer(steps=20)
    half = _rounds(whole) // 2
    _train(whole, half)
    state = subject.place("state")
    with Folder(state) as folder:
        save(folder, whole.step, whole.game.snapshot(), keep=1)
    _train(whole, half)
    parts = subject.trainer(steps=20)
    torch.manual_seed(99)
    parts.restore(load_newest(state))
    _train(parts, half)
    wrong = first_difference(whole.model.state_dict(), parts.model.state_dict())
    demand(
        wrong is None,
        f"after a resume {wrong!r} ends with other values; keep whatever changes in training in "
        "parameters or buffers, and draw from step.noise or torch's own generator",
    )


def precision(subject: Candidate) -> None:
    """Under bfloat16 autocast losses are finite and float32; the parameters stay float32."""
    trainer = subject.trainer(steps=4, precision="bf16")
    for state in trainer.players:
        alone(trainer, state.player)
        with autocast(CPU, "bf16"):
            found = state.player.objective(subject.batch(), step_at(state.player.name))
        try:
            check_objective(state.player, found)
        except ConformanceError as error:
            raise ConformanceError(f"with --precision bf16, {error}") from error
    trainer.model.zero_grad(set_to_none=True)
    _train(trainer, trainer.players[0].player.steps)
    for name, p in trainer.model.named_parameters():
        demand(p.dtype == torch.float32, f"the parameter {name!r} is {p.dtype} after bf16 training")
        demand(bool(torch.isfinite(p).all()), f"the parameter {name!r} is not finite after bf16")


def sizes(subject: Candidate) -> None:
    """A batch of one, and shapes that no one planned for, work or are refused by ValueError."""
    if not subject.spec.drop_last:
        _one_step(subject, 1, "a batch of one (or say drop_last=True in the spec)")
    refused = 0
    for shape in ODD_SHAPES[subject.data.kind]:
        other = subject.on(shape)
        try:
            model = other.prepared()
        except ValueError:  # a sentence for the user, as the contract has it
            refused += 1
            continue
        _one_step(other, 8, f"examples of shape {shape}")
        found = tuple(other.samples(model, 2).shape)
        demand(found == (2, *shape), f"on examples of shape {shape} it samples {found}")
    if refused == len(ODD_SHAPES[subject.data.kind]):
        raise Skip(f"the model refuses the shapes {ODD_SHAPES[subject.data.kind]}")


def _one_step(subject: Candidate, n: int, what: str) -> None:
    trainer = subject.trainer(steps=4)
    for state in trainer.players:
        alone(trainer, state.player)
        try:
            found = state.player.objective(subject.batch(n), step_at(state.player.name))
            check_objective(state.player, found)
        except Exception as error:
            raise ConformanceError(f"{what} does not train: {error}") from error
