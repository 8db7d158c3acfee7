"""The two moons as a gentool plugin: ``--data moons`` and ``--metrics moons``. No torch here."""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import MetricInfo, SourceInfo, Value

GENTOOL_API = 1


@hookimpl
def gentool_data_sources(register: Callable[[SourceInfo], None]) -> None:
    register(
        SourceInfo(
            name="moons",
            kind="built-in",
            help="points: two interleaved half circles with noise 0.05; moons:N draws N",
            loader="gentool_moons.moons:load",
            counted=True,
        )
    )


@hookimpl
def gentool_metrics(register: Callable[[MetricInfo], None]) -> None:
    register(
        MetricInfo(
            name="moons",
            help="share of samples on the two moons, and share of the moons that samples reach",
            function="gentool_moons.moons:judge",
            compares="examples",
            values=(Value("on_moons", "higher"), Value("moons_reached", "higher", 1.0)),
            default=False,
        )
    )
