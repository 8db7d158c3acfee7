"""Export to a folder as model hubs keep them: ``gentool export RUN folder``. No torch here."""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import ExporterInfo


@hookimpl
def gentool_exporters(register: Callable[[ExporterInfo], None]) -> None:
    register(
        ExporterInfo(
            "hub",
            "",
            "a folder with config.json, model.safetensors and a model card, for a model hub",
            "gentool_hub.folder:export",
            push="gentool_hub.push:push",
        )
    )
