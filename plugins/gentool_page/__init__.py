"""Export to one HTML file: ``gentool export RUN page.html``. No torch here."""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import ExporterInfo


@hookimpl
def gentool_exporters(register: Callable[[ExporterInfo], None]) -> None:
    register(
        ExporterInfo(
            "page",
            ".html",
            "the explorer with the model inside, one file that a browser opens without a network",
            "gentool_page.export:export",
        )
    )
