"""Parquet files of images, as Hugging Face ``datasets`` writes them. No pyarrow here."""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import SourceInfo


@hookimpl
def gentool_data_sources(register: Callable[[SourceInfo], None]) -> None:
    register(
        SourceInfo(
            "parquet",
            "path",
            "Parquet with image bytes and labels, one file or a folder (gentool[parquet])",
            "gentool_parquet.source:load",
            accepts="gentool_parquet.source:accepts",
        )
    )
