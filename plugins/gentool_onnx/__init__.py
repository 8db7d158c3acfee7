"""ONNX export as a gentool plugin: ``gentool export RUN model.onnx``. No torch here."""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import ExporterInfo


@hookimpl
def gentool_exporters(register: Callable[[ExporterInfo], None]) -> None:
    register(
        ExporterInfo(
            "onnx",
            ".onnx",
            "the sampler, and the encoder where there is one, for any ONNX runtime",
            "gentool_onnx.export:export",
        )
    )
