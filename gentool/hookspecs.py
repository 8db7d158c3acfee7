"""The hooks a plugin can implement. This screen is the whole interface.

A package announces a module through an entry point; the module implements hooks::

    # pyproject.toml                      # gentool_flow/__init__.py
    [project.entry-points.gentool]        from gentool.hookspecs import hookimpl
    flow = "gentool_flow"                 from gentool.spec import ModelSpec

                                          @hookimpl
                                          def gentool_model() -> ModelSpec: ...
"""

from __future__ import annotations

import pluggy

from gentool.spec import ModelSpec

GROUP = "gentool"
"""The entry-point group of models; the entry point's name is the model's name."""

hookspec = pluggy.HookspecMarker("gentool")
hookimpl = pluggy.HookimplMarker("gentool")


@hookspec
def gentool_model() -> ModelSpec:  # type: ignore[empty-body]
    """Describe one model. Called when the model is asked for; must not import torch."""
