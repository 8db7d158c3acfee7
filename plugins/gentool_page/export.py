"""The exporter: programs, tensors, what the tabs show, and cases to hold it all against torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gentool.errors import UserError
from gentool.explore.session import Subject
from gentool.exporters import Export
from gentool.files import user_errors, written_aside
from gentool.latent.playable import PlayableModel
from gentool.model import Encodes, Infers, Model
from gentool.noise import Noise, sampling_noise
from gentool.ops import stream_id
from gentool.runs import Source
from gentool_page import facts
from gentool_page.document import document
from gentool_page.program import Program, trace
from gentool_page.tensors import Tensors, halved

TOLERANCE = 2 / 255
"""The largest error of a pixel that a page may have."""

CASES = 3


def export(job: Export) -> None:
    """Write the page `job.out`."""
    model = job.loaded.model
    tensors = Tensors(half=not job.fp32)
    draws, prior = _prior(model)
    programs = {"prior": prior, "sampler": trace(Sampler(model), _latents(model, 1), "sampler")}
    if isinstance(model, Encodes):
        programs["encoder"] = trace(Encoder(model), _examples(model, 1), "encoder")
    if isinstance(model, Infers):
        programs["moments"] = trace(Moments(model), _examples(model, 1), "encoder")
    subject = _subject(job)
    shown = facts.of_run(subject, job)
    vectors: dict[str, int] = {}

    def keep(name: str, tensor: Tensor) -> str:
        vectors[name] = tensors.add(tensor.float().flatten())
        return name

    content = {
        "run": shown,
        "draws": draws,
        "programs": {name: one.to_json(tensors) for name, one in programs.items()},
        "golden": {"cases": _cases(model, keep), "tolerance": TOLERANCE},
        "kept": facts.kept(subject, keep, job.notes),
        "vectors": vectors,
    }
    with user_errors("the page", job.out), written_aside(job.out) as aside:
        aside.write_text(document(shown, content, tensors), encoding="utf-8")
    if tensors.half:
        _tell_error(model, job)


class Sampler(nn.Module):
    """z (1, *latent_shape) → an image (1, C, H, W) in [0, 1], or a point (1, D)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, told: Tensor | None = None) -> Tensor:
        return self.model.sample(z, told)


class Encoder(nn.Module):
    """x (1, *shape), as the model is trained on, → z (1, *latent_shape)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        assert isinstance(self.model, Encodes)
        return self.model.encode(x, told)


class Moments(nn.Module):
    """x (1, *shape) → μ and log σ² of q(z|x), one after the other."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        assert isinstance(self.model, Infers)
        return torch.cat([m.flatten() for m in self.model.infer(x, told)])


class Prior(nn.Module):
    """The draws that a model's prior asks for → z (1, *latent_shape)."""

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *draws: Tensor) -> Tensor:
        return self.model.prior(1, Given(dict(zip(self.names, draws, strict=True))))


class Given(Noise):
    """Noise whose numbers are at hand."""

    def __init__(self, numbers: dict[str, Tensor]) -> None:
        super().__init__(0, "sample", torch.zeros((), dtype=torch.int64))
        self.numbers = numbers

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self.numbers[name].view(shape)

    uniform = normal


class Asked(Noise):
    """Noise that remembers what was drawn."""

    def __init__(self) -> None:
        super().__init__(0, "sample", torch.zeros((), dtype=torch.int64), exact=True)
        self.draws: list[tuple[str, str, Tensor]] = []

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.draws.append(("normal", name, super().normal(name, shape)))
        return self.draws[-1][2]

    def uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.draws.append(("uniform", name, super().uniform(name, shape)))
        return self.draws[-1][2]


def _prior(model: Model) -> tuple[list[dict[str, Any]], Program]:
    """The draws of one latent, by the names of their streams, and what the prior makes of them."""
    asked = Asked()
    with torch.no_grad():
        model.prior(1, asked)
    draws = []
    for kind, name, _ in asked.draws:
        number = stream_id(f"sample/{name}")
        draws.append({"kind": kind, "stream": [number >> 32, number & 0xFFFFFFFF]})
    names, numbers = [name for _, name, _ in asked.draws], [x for _, _, x in asked.draws]
    if not names:
        raise UserError("the prior of this model draws nothing, so its page would have no seeds")
    return draws, trace(Prior(model, names), tuple(numbers), "prior")


def _latents(model: Model, n: int) -> tuple[Tensor, ...]:
    """n latents and what the model is told of each."""
    with torch.no_grad():
        z = model.prior(n, sampling_noise(0)).float()
    told = model.in_turn(n)
    return (z,) if told is None else (z, told)


def _examples(model: Model, n: int) -> tuple[Tensor, ...]:
    z, *told = _latents(model, n)
    with torch.no_grad():
        return (Sampler(model)(z, *told).float(), *told)


def _cases(model: Model, keep: Any) -> list[dict[str, Any]]:
    """Seeds with what torch makes of them."""
    found = []
    for seed in range(CASES):
        with torch.no_grad():
            z = model.prior(1, sampling_noise(seed))
            told = model.in_turn(seed + 1)
            own = None if told is None else told[-1:]
            x = model.sample(z, own).float()
            case = {"seed": seed, "z": keep(f"z{seed}", z), "x": keep(f"x{seed}", x)}
            case["size"] = 1.0 if model.data.kind == "image" else max(1.0, float(x.abs().max()))
            if own is not None:
                case["told"] = own.tolist() if own.is_floating_point() else int(own)
            if isinstance(model, Encodes):
                code = model.encode(x, own)
                case["code"] = keep(f"code{seed}", code)
                case["codeSize"] = max(1.0, float(code.abs().max()))
        found.append(case)
    return found


def _subject(job: Export) -> Subject:
    loaded = job.loaded
    playable = PlayableModel(
        loaded.model, loaded.header, loaded.spec, loaded.config, Source(job.file, job.run)
    )
    name = job.run.path.resolve().name if job.run is not None else job.file.name
    return Subject(name, job.run, playable)


def _tell_error(model: Model, job: Export) -> None:
    """Say what half precision changes, and refuse nothing: the page checks itself."""
    rough = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in rough.parameters():
            parameter.copy_(halved(parameter))
        arguments = _latents(model, 16)
        error = float((Sampler(rough)(*arguments) - Sampler(model)(*arguments)).abs().max())
    if model.data.kind == "image":
        told = f"half-precision weights change a pixel by up to {255 * error:.2g} of 255 shades"
    else:
        told = f"half-precision weights change a coordinate by up to {error:.1e}"
    more = "; --fp32 keeps them whole" if error > TOLERANCE / 2 else ""
    job.notes.append(f"{told}{more}")
