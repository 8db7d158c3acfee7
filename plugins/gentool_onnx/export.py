"""A model's sampler z (, labels) → x and encoder x (, labels) → z as ONNX graphs.

Sampling and encoding are plain torch, so no custom operator gets into a graph. Every graph is held
against torch through onnxruntime, on the batch size it was traced with and on two others.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gentool.errors import UserError, printable
from gentool.exporters import Export
from gentool.files import canonical_json, user_errors, written_aside
from gentool.model import Encodes, Model
from gentool.noise import sampling_noise

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest value where that exceeds 1."""

TRACED, OTHERS = 3, (1, 8)


class Sampler(nn.Module):
    """z (N, *latent_shape) → images (N, C, H, W) in [0, 1], or points (N, D)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.model.sample(z, labels)


class Encoder(nn.Module):
    """x, as the model is trained on, → z (N, *latent_shape)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        assert isinstance(self.model, Encodes)
        return self.model.encode(x, labels)


def export(job: Export) -> None:
    """Write ``OUT.onnx``, and ``OUT.encoder.onnx`` for a model that encodes."""
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise UserError(f"ONNX export needs {package}; run: pip install 'gentool[onnx]'")
    model = job.loaded.model
    header = canonical_json(job.loaded.header.to_json())
    _write(job, job.out, Sampler(model), "z", "x", header)
    if "reconstruct" in job.loaded.spec.capabilities and isinstance(model, Encodes):
        _write(job, job.out.with_suffix(".encoder.onnx"), Encoder(model), "x", "z", header)


def _write(
    job: Export, path: Path, network: nn.Module, source: str, target: str, header: str
) -> None:
    network.eval()
    arguments = _inputs(job.loaded.model, source, TRACED)
    names = [source, "labels"][: len(arguments)]
    with user_errors("the ONNX file", path), written_aside(path) as aside:
        program = _trace(network, arguments, names, target)
        program.model.metadata_props["gentool"] = header
        if job.licence:
            program.model.metadata_props["license"] = job.licence
        # Inline weights, so that the file can be moved: the format's limit is 2 GiB.
        program.save(aside, external_data=False)
        note = _check(aside, path, network, job.loaded.model, source, names)
    job.notes.append(note)


def _inputs(model: Model, source: str, n: int) -> tuple[Tensor, ...]:
    """n latents from the prior, or examples made from them, and labels where they are asked for."""
    told = model.in_turn(n)
    labels = () if told is None else (told,)
    with torch.no_grad():
        z = model.prior(n, sampling_noise(n)).float()
        return (z, *labels) if source == "z" else (model.sample(z, *labels).float(), *labels)


def _trace(
    network: nn.Module, arguments: tuple[Tensor, ...], names: list[str], target: str
) -> torch.onnx.ONNXProgram:
    shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in names)
    problem: Exception | None = None
    # Strict tracing reads the source, so that len(x) does not fix the batch size; it understands
    # less of Python than the other way does.
    for strict in (True, False):
        try:
            with torch.no_grad(), _quiet():
                traced = torch.export.export(
                    network, arguments, dynamic_shapes=shapes, strict=strict
                )
                program = torch.onnx.export(
                    traced, dynamo=True, verbose=False, input_names=names, output_names=[target]
                )
            assert program is not None
            return program
        except Exception as error:
            problem = problem or error
    reason = printable(str(problem).strip().partition("\n")[0], 200)
    raise UserError(
        f"torch cannot export this model to ONNX ({reason}); `gentool --debug export` shows why"
    ) from problem


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter prints and warns about its own inside."""
    loggers = [logging.getLogger(n) for n in ("torch.onnx", "onnxscript", "onnx_ir", "torch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check(
    aside: Path, path: Path, network: nn.Module, model: Model, source: str, names: list[str]
) -> str:
    """Hold the graph against torch; returns a sentence, raises UserError where they differ."""
    if find_spec("onnxruntime") is None:
        return f"{path}: not compared with torch; `pip install onnxruntime` lets gentool do that"
    onnxruntime = import_module("onnxruntime")  # an optional package, without type hints

    session = onnxruntime.InferenceSession(aside, providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in (TRACED, *OTHERS):
        arguments = _inputs(model, source, n)
        feeds = {name: a.numpy() for name, a in zip(names, arguments, strict=True)}
        with torch.no_grad():
            expected = network(*arguments).numpy()
        try:
            found = session.run(None, feeds)[0]
        except Exception as error:  # onnxruntime's own classes have no common public base
            raise UserError(
                f"onnxruntime cannot run {printable(str(path))} on a batch of {n} "
                f"({printable(str(error), 150)}), so it is not kept"
            ) from error
        worst = max(worst, difference(np.asarray(found), expected))
    if not worst <= TOLERANCE:
        raise UserError(
            f"the ONNX graph for {printable(str(path))} differs from torch by {worst:.1e}, more "
            f"than {TOLERANCE:g}, so it is not kept; the model uses something that ONNX does "
            "not compute alike"
        )
    return f"{path}: equal to torch within {worst:.1e} in onnxruntime {onnxruntime.__version__}"


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """max |a − b| / max(1, max |b|); infinite for different shapes or a NaN."""
    if a.shape != b.shape:
        return float("inf")
    gap = float(np.abs(a - b).max(initial=0.0) / max(1.0, float(np.abs(b).max(initial=0.0))))
    return gap if np.isfinite(gap) else float("inf")
